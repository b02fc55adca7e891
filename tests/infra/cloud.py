"""An AWS of our own: `ministack`, in a process of its own on 127.0.0.1.

Installed by infra/install-test-services.sh in an environment of its own; SHREDVAULT_TEST_MINISTACK names its command
where it is elsewhere.
"""

import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import boto3

__all__ = ["client", "running_cloud"]

_ROOT: Final = Path(__file__).parents[2]
_START_S: Final = 60
_STOP_S: Final = 10


@contextmanager
def running_cloud(folder: Path) -> Iterator[str]:
    """Run the emulator while the block runs; yields its address. What it logs is in `folder`."""
    command = Path(os.environ.get("SHREDVAULT_TEST_MINISTACK", _ROOT / ".venv-ministack" / "bin" / "ministack"))
    assert command.exists(), f"{command} is missing; infra/install-test-services.sh installs it"
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "SERVICES": "cloudformation,iam,s3",
        "IOT_MTLS_ENABLED": "0",  # it would listen on a port of its own
    }
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen([command], env=environment, cwd=folder, stdout=log, stderr=log) as process,
    ):
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_for(url, process)
            yield url
        finally:
            process.terminate()
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_S
    while True:
        assert process.poll() is None, "the emulator ended"
        assert time.monotonic() < deadline, "the emulator does not answer"
        try:
            with urllib.request.urlopen(f"{url}/_ministack/health", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)


def client(service: str, url: str) -> Any:
    """A boto3 client of the emulator."""
    return boto3.client(
        service,
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
