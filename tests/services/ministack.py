"""A KMS emulator for the session: ministack in an environment of its own, bound to 127.0.0.1.

It enforces key states and imports material, which moto does not. It lists no rotations, checks no integrity, takes
new material into an emptied key and is never late: `strict_kms.py` has what it lacks.
"""

import contextlib
import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

PROGRAM = Path(
    os.environ.get("SHREDVAULT_TEST_MINISTACK", Path(__file__).parents[2] / ".venv-ministack" / "bin" / "ministack")
)
SERVER = Path(__file__).with_name("ministack_server.py")
START_SECONDS = 60.0


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def answers(url: str) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/_ministack/health", timeout=2) as answer:
        status: int = answer.status
        return status == 200
    return False


@pytest.fixture(scope="session")
def ministack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The endpoint's URL. Accounts are told apart by access keys of 12 digits."""
    if not PROGRAM.exists():
        pytest.fail(f"{PROGRAM} is missing: `make test-services` builds it")
    folder = tmp_path_factory.mktemp("ministack")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    # Nothing of this process's surroundings: no credentials, no proxies, no Python path.
    surroundings = {
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "PATH": f"{PROGRAM.parent}:/usr/bin:/bin",
    }
    with (folder / "log").open("wb") as log:
        command = [str(PROGRAM.with_name("python")), "-P", str(SERVER)]
        server = subprocess.Popen(command, cwd=folder, env=surroundings, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + START_SECONDS
            while not answers(url):
                if server.poll() is not None or time.monotonic() > deadline:
                    pytest.fail(f"ministack did not start:\n{(folder / 'log').read_text('utf-8', 'replace')[-2000:]}")
                time.sleep(0.1)
            yield url
        finally:
            server.terminate()
            try:
                server.wait(timeout=15)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
