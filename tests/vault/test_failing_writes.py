"""Writes and syncs below SQLite that fail: the operating system says so to a real process that carries out a sweep.

Full and read-only disks are in `test_disks`, where Python's own writes and syncs fail, too. Why a process may go on
with a catalogue after one of its syncs has failed stands in docs/decisions/0019.
"""

import shutil
import subprocess
from collections.abc import Iterator

import pytest

from tests.vault.databases import on_sqlite
from tests.vault.scene import Scene, assert_masters_in_use_only
from tests.vault.test_crashes import judge_destruction, recover, twin
from tests.vault.victim import Fault

pytestmark = on_sqlite


@pytest.fixture(scope="module", autouse=True)
def tracing() -> None:
    assert shutil.which("strace"), "infra/install-test-services.sh installs it"
    if subprocess.run(["strace", "-o", "/dev/null", "true"], check=False, capture_output=True).returncode:
        pytest.skip("processes may not be traced here")


def faults(calls: list[str]) -> Iterator[Fault]:
    """Every sync fails once, every second with all that follow, and of the writes before each the last, or all.

    Writes between two syncs are of one transaction, or of one writing of the log into the file.
    """
    count = {"pwrite64": 0, "fdatasync": 0, "fsync": 0}
    first = 1
    for line in calls:
        call = line.partition("(")[0].split()[-1]
        count[call] += 1
        if call == "pwrite64":
            continue
        yield Fault(call, "EIO", f"{count[call]}")
        even = (count["fdatasync"] + count["fsync"]) % 2 == 0
        if even:
            yield Fault(call, "EIO", f"{count[call]}+")
        if count["pwrite64"] >= first:
            yield Fault("pwrite64", "EIO", f"{count['pwrite64']}") if even else Fault("pwrite64", "ENOSPC", f"{first}+")
        first = count["pwrite64"] + 1


def test_a_sweep_of_which_any_sync_and_any_transaction_fails(scene: Scene) -> None:
    def run(fault: Fault) -> list[str]:
        world = scene.again()
        ended = scene.run(world, "sweep stubbornly", fault=fault)
        assert any("INJECTED" in line for line in ended.calls) is bool(fault.call), fault
        done = bool({"swept", "went on"} & set(ended.told))
        # What failed once does not keep the same process from carrying it out.
        assert done or fault.when.endswith("+"), f"{fault}: {ended.told}"
        recover(world)
        judge_destruction(scene.town, scene.town.due, [scene.town.given_up])(world, f"{fault}")
        assert not done or not any(world.is_readable(twin(world, record)) for record in scene.town.due)
        assert_masters_in_use_only(world)
        pending = "SELECT COUNT(*) FROM destructions WHERE completed_at IS NULL AND abandoned_at IS NULL"
        assert world.value(pending) == 0
        world.vault.catalogue.close()
        outcomes.update(line for line in ended.told if not line.startswith(("effect", "step")))
        return ended.calls

    outcomes = set[str]()
    scene.run(scene.again(), "sweep", rehearsed=True)
    calls = run(Fault())
    assert {"catalogue.db>", "catalogue.db-wal>", ".partial>"} <= {
        end for line in calls for end in ("catalogue.db>", "catalogue.db-wal>", ".partial>") if end in line
    }
    for fault in faults(calls):
        run(fault)
    assert outcomes >= {"swept", "went on", "failed: CatalogueFullError", "failed: CustodianUnavailableError"}
