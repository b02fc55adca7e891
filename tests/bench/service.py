"""The service as its users meet it: its own process, its own object store, and a lean client."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID

import boto3

from tests.bench.scale import founding_in
from vault.access import Role, create_token
from vault.home import found_vault, open_vault

__all__ = ["Center", "PlainStore", "Service", "scan", "served"]

START_SECONDS: Final = 30.0
STOP_SECONDS: Final = 20.0
ENDPOINT_FILE: Final = "endpoint"
_APPLICANT: Final = b'{"applicant": {"given_name": "Ana", "family_name": "Example"}}'


def scan(size: int) -> bytes:
    """Random bytes that the service takes for a PDF."""
    return b"%PDF-" + os.urandom(size - 10) + b"%%EOF"


@dataclass(frozen=True, slots=True)
class Service:
    """A running service."""

    pid: int
    port: int
    token: str
    folder: Path

    def center(self) -> Center:
        """A client with a connection of its own; for one thread."""
        return Center(self.port, self.token)

    def plain_store(self) -> PlainStore:
        """The object store behind the service, spoken to directly."""
        credentials = json.loads((self.folder / "home/bucket.json").read_text("utf-8"))
        endpoint = (self.folder / "objects" / ENDPOINT_FILE).read_text("ascii")
        return PlainStore(endpoint, credentials["access_key"], credentials["secret_key"])

    def peak_bytes(self) -> int:
        """Peak resident memory of the service's own processes (not of the object store), in bytes."""
        return sum(_peak(pid) for pid in _family(self.pid))


class Center:
    """Files over one kept connection."""

    def __init__(self, port: int, token: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        self._headers = {"Authorization": f"Bearer {token}"}

    def reconnect(self) -> None:
        """Let a connection go that the service may have closed while it was idle."""
        self._connection.close()

    def open_record(self, idempotency_key: str) -> str:
        """Open a record; its id."""
        key = str(UUID(bytes=hashlib.sha256(idempotency_key.encode()).digest()[:16], version=4))
        headers = {"Idempotency-Key": key, "Content-Type": "application/json"}
        answer = self._request("POST", "/v1/records", _APPLICANT, headers)
        return str(answer["record_id"])

    def put(self, record_id: str, name: str, body: bytes) -> None:
        """File a document."""
        path = f"/v1/records/{record_id}/documents/{name}"
        self._request("PUT", path, body, {"Content-Type": "application/pdf"})

    def _request(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> dict[str, object]:
        self._connection.request(method, path, body, {**self._headers, **headers})
        response = self._connection.getresponse()
        content = response.read()
        if response.status not in {200, 201}:
            message = f"{method} was answered {response.status}: {content[:300]!r}"
            raise RuntimeError(message)
        answer: dict[str, object] = json.loads(content)
        return answer


class PlainStore:
    """The same object store as somebody would use it who has boto3 and no vault. Shared by threads."""

    BUCKET: Final = "plain"

    def __init__(self, endpoint: str, access_key: str, secret_key: str) -> None:
        self._s3 = boto3.client(
            "s3",
            endpoint_url=endpoint,
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            region_name="us-east-1",
        )

    def prepare(self) -> None:
        """Make the bucket."""
        self._s3.create_bucket(Bucket=self.BUCKET)

    def put(self, name: str, body: bytes) -> None:
        """Store an object."""
        self._s3.put_object(Bucket=self.BUCKET, Key=name, Body=body)


@contextmanager
def served(folder: Path) -> Iterator[Service]:
    """Found a vault in `folder` and serve it from a process of its own."""
    found_vault(founding_in(folder))
    with open_vault(folder / "home") as vault:
        token = create_token(vault, Role.CENTER, "benchmark")
    port = _free_port()
    log = (folder / "serve.log").open("wb")
    process = subprocess.Popen(
        [sys.executable, "-m", "api.cli", "serve", "--home", str(folder / "home"), "--port", str(port)],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    try:
        _wait_for(process, port, folder / "serve.log")
        yield Service(process.pid, port, token, folder)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()


def _wait_for(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        try:
            connection.request("GET", "/readyz")
            if connection.getresponse().status == http.HTTPStatus.OK:
                return
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(0.05)
    message = f"The service did not come up: {log.read_text('utf-8', 'replace')[-2000:]}"
    raise RuntimeError(message)


def _free_port() -> int:
    with socket.socket() as candidate:
        candidate.bind(("127.0.0.1", 0))
        return int(candidate.getsockname()[1])


def _family(pid: int) -> list[int]:
    """A process and what it started, except the object store."""
    found = [pid]
    for child in Path(f"/proc/{pid}/task").glob("*/children"):
        for number in map(int, child.read_text("ascii").split()):
            if Path(f"/proc/{number}/comm").read_text("utf-8").strip() not in {"weed", "setpriv"}:
                found += _family(number)
    return found


def _peak(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text("utf-8")
    return int(re.findall(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)[0]) * 1024
