"""Writes and syncs below SQLite that fail: the operating system says so to a real process that goes on, or ends.

Full and read-only disks are in `test_disks`, where Python's own writes and syncs fail, too. Why a process may go on
with a catalogue after one of its syncs has failed stands in docs/decisions/0019.
"""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from tests.crashes.scene import Scene, assert_masters_in_use_only, judge_told_filing
from tests.crashes.test_crashes import judge_destruction, judge_hold, judge_release, recover, twin
from tests.crashes.victim import Ended, Fault
from tests.people import TERMS, submitted
from tests.vault.databases import on_sqlite
from tests.vault.holding import release_order
from tests.vault.world import World, png
from vault.destruction.drafting import draft_scrub

pytestmark = on_sqlite
FILES = ("catalogue.db>", "catalogue.db-wal>")


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


class Operation(NamedTuple):
    """What is done while calls fail, and what is asked afterwards."""

    name: str
    given: tuple[object, ...]
    is_done: Callable[[World], bool]
    """Whether its effect is there."""
    judge: Callable[[World, str, Ended], object]
    refusals: set[str]
    """Some of the errors that it must have met."""
    files: tuple[str, ...] = FILES
    """To which it must have written."""
    repeated: bool = False
    """Whether a person does it again where it was not done."""


def sweep(scene: Scene) -> Operation:
    town = scene.town
    judge = judge_destruction(town, town.due, [town.given_up])
    return Operation(
        "sweep",
        (),
        lambda world: not any(world.is_readable(twin(world, record)) for record in town.due),
        lambda world, where, _: judge(world, where),
        {"CatalogueFullError", "CustodianUnavailableError"},
    )


def file(scene: Scene) -> Operation:
    content = png(9000)
    # Far from the other dates, so that a cohort must be opened.
    scene.town.world.advance(days=100)
    return Operation(
        "file",
        ("A. New", content),
        lambda world: world.value("SELECT COUNT(*) FROM record_states WHERE state = 'retained'") == 5,
        judge_told_filing(scene, content),
        {"CatalogueFullError"},
    )


def hold(scene: Scene) -> Operation:
    return Operation(
        "hold",
        (scene.town.due[0].id, "20-cv-2"),
        lambda world: world.value("SELECT COUNT(*) FROM holds WHERE docket = '20-cv-2'") == 1,
        lambda world, where, ended: judge_hold(scene.town, "20-cv-2", lambda: "placed" in ended.told)(world, where),
        {"CatalogueFullError"},
    )


def release(scene: Scene) -> Operation:
    order = release_order(scene.town.world.vault, scene.town.hold).id
    return Operation(
        "release",
        (scene.town.hold, order),
        lambda world: world.value("SELECT released_at IS NOT NULL FROM holds") == 1,
        lambda world, where, _: judge_release(scene.town, set())(world, where),
        {"CatalogueFullError", "CustodianUnavailableError"},
    )


def scrub(scene: Scene) -> Operation:
    town = scene.town
    order = submitted(town.world.vault, draft_scrub(town.world.vault, TERMS).order).id
    judge = judge_destruction(town, [*town.due, town.young], [town.given_up])
    return Operation(
        "scrub",
        (order,),
        lambda world: not world.is_readable(twin(world, town.young)),
        lambda world, where, _: judge(world, where),
        {"CatalogueFullError", "CustodianUnavailableError"},
    )


def rebuild(scene: Scene) -> Operation:
    town = scene.town
    town.world.sweep()

    def judge(world: World, where: str, _: Ended) -> None:
        world.assert_readable(twin(world, town.held), twin(world, town.young))
        world.assert_destroyed(*(twin(world, record) for record in town.due))

    fresh = ("catalogue.db.rebuilding>", "catalogue.db.rebuilding-wal>")
    return Operation("rebuild", (), lambda _: True, judge, {"CatalogueFullError"}, fresh, repeated=True)


@pytest.mark.parametrize("prepare", [sweep, file, hold, release, scrub, rebuild], ids=lambda each: each.__name__)
def test_whichever_sync_or_transaction_fails_both_promises_are_kept(
    scene: Scene, prepare: Callable[[Scene], Operation]
) -> None:
    operation = prepare(scene)

    def run(fault: Fault) -> list[str]:
        world = scene.again()
        ended = scene.run(world, operation.name, *operation.given, fault=fault)
        assert any("INJECTED" in line for line in ended.calls) is bool(fault.call), fault
        done = bool({"done", "went on"} & set(ended.told))
        if operation.repeated and not done:
            assert not scene.run(world, operation.name, *operation.given).killed
        recover(world)
        # What failed once does not keep the same process from carrying it out.
        assert operation.is_done(world) or fault.when.endswith("+"), f"{fault}: {ended.told}"
        assert operation.is_done(world) or not done, f"{fault}: {ended.told}"
        operation.judge(world, f"{fault}", ended)
        assert_masters_in_use_only(world)
        pending = "SELECT COUNT(*) FROM destructions WHERE completed_at IS NULL AND abandoned_at IS NULL"
        assert world.value(pending) == 0
        world.vault.catalogue.close()
        outcomes.update(line for line in ended.told if line.startswith("failed: ") or line in ("done", "went on"))
        return ended.calls

    outcomes = set[str]()
    scene.run(scene.again(), operation.name, *operation.given, rehearsed=True)
    calls = run(Fault())
    assert all(any(end in line for line in calls) for end in operation.files)
    for fault in faults(calls):
        run(fault)
    assert outcomes >= {"done", "went on"} | {f"failed: {name}" for name in operation.refusals}
