"""What hardening achieves, seen from outside the process; and that it says so when it does not."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOBODY = 65534
AS_NOBODY = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--"]
WITHOUT_LOCKING = ["setpriv", "--bounding-set=-ipc_lock", "--inh-caps=-ipc_lock", "--"]
LINE = "import sys; from vault.host.hardening import harden; {}; print({}, flush=True); {}; sys.stdin.read()"
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else or give up a capability")


@contextmanager
def process(before: str, shown: str, after: str = "pass", prefix: list[str] | None = None) -> Iterator[tuple[int, str]]:
    """A process that runs `before`, prints `shown`, and waits; yields its id and what it printed."""
    command = [*(prefix or []), sys.executable, "-c", LINE.format(before, shown, after)]
    environment = {"PYTHONPATH": str(ROOT), "PATH": os.defpath, "PYTHONDONTWRITEBYTECODE": "1"}
    with subprocess.Popen(
        command, cwd="/", env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout
        yield child.pid, child.stdout.readline().strip()
        child.communicate("")


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


@as_root
def test_a_hardened_process_has_no_core_dumps_and_locked_memory() -> None:
    with process("pass", "1") as (pid, _):
        assert status(pid)["NoNewPrivs"] == "0"
        assert status(pid)["VmLck"] == "0 kB"
    with process("done = harden()", "done") as (pid, said):
        assert said == "core dumps off, memory locked"
        assert status(pid)["NoNewPrivs"] == "1"
        assert int(status(pid)["VmLck"].split()[0]) > 1000
        limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
        assert [line.split()[4:6] for line in limits if line.startswith("Max core")] == [["0", "0"]]


@as_root
def test_where_memory_cannot_be_locked_it_says_so_and_goes_on() -> None:
    before = "import resource; resource.setrlimit(resource.RLIMIT_MEMLOCK, (65536, 65536)); done = harden()"
    with process(before, "done, len(bytes(50_000_000))", prefix=WITHOUT_LOCKING) as (pid, said):
        assert "memory NOT locked" not in said.partition(",")[0]
        assert status(pid)["VmLck"] == "0 kB"
        assert said.endswith(" 50000000"), "what it allocates later is not refused"
    with process(before, "str(done)", prefix=WITHOUT_LOCKING) as (_, said):
        assert "memory NOT locked" in said
        assert "LimitMEMLOCK" in said


@as_root
def test_nobody_of_the_same_user_reads_a_hardened_process() -> None:
    reading = [*AS_NOBODY, "/bin/dd", "bs=1", "count=1", "of=/dev/null"]
    if subprocess.run([*AS_NOBODY, sys.executable, "-c", ""], check=False, capture_output=True).returncode != 0:
        pytest.skip("this interpreter is closed to other users")
    for before, readable in (("pass", True), ("harden()", False)):
        with process(before, "1", prefix=AS_NOBODY) as (pid, said):
            assert said == "1"
            looked = subprocess.run([*reading, f"if=/proc/{pid}/environ"], check=False, capture_output=True)
            assert (looked.returncode == 0) is readable
