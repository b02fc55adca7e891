"""`shredvault serve` as a test sees it from outside: its processes, its callers, and what it has written."""

import http.client
import json
import os
import secrets
import signal
import socket
import sqlite3
import ssl
import subprocess
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, urlsplit

import httpx2

from keystore import OpenTree, Tree
from tests.cli.forked import REPOSITORY
from tests.cli.operator import Operator
from tests.services.memory import found_in
from vault.catalogue import keys
from vault.home import open_vault
from vault.trees.keyring import custodian_of

WAIT_SECONDS = 120.0
LOOK_EVERY_S = 0.05
"""Looking through all processes, as most conditions do, takes a tenth of that."""
START_SECONDS = 150.0
"""Programs that are not compiled yet, on a machine that has much else to do."""
NO_AUTHORITIES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Here nobody speaks TLS, and reading the list of all authorities takes each client longer than all it asks."""
PDF_HEAD, PDF_END = b"%PDF-1.7\n", b"\n%%EOF\n"
MIB = 1024 * 1024
AUDIT = ("--kind", "audit", "--authority", "Comptroller", "--docket", "1")


def eventually(
    holds: Callable[[], bool], what: str, seconds: float = WAIT_SECONDS, *, every_s: float = LOOK_EVERY_S
) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"It did not come about in time: {what}."
        time.sleep(every_s)


def canary() -> bytes:
    """Thirty-two bytes that stand nowhere else."""
    return secrets.token_bytes(32)


def pdf(size: int, *canaries: bytes) -> bytes:
    """Passes for a PDF; the canaries stand at its head, middle and end, and every MiB."""
    content = bytearray(secrets.token_bytes(size))
    content[: len(PDF_HEAD)] = PDF_HEAD
    content[-len(PDF_END) :] = PDF_END
    for number, one in enumerate(canaries):
        for at in {100, size // 2, size - 200, *range(MIB, size - 300, MIB)}:
            content[at + 40 * number : at + 40 * number + len(one)] = one
    return bytes(content)


@dataclass
class Service:
    operator: Operator
    process: subprocess.Popen[str]
    count: int
    url: str = ""
    center: str = ""
    reviewer: str = ""
    lines: list[str] = field(default_factory=list)

    @classmethod
    def start(cls, operator: Operator, count: int, **settings: str) -> Self:
        """Serve with so many workers, and with new tokens."""
        service = cls.launch(operator, count, **settings)
        service.center = service.token("center")
        service.reviewer = service.token("reviewer")
        service.until_complete()
        return service

    @classmethod
    def launch(cls, operator: Operator, count: int, **settings: str) -> Self:
        """Serve with so many workers; the first of them listens."""
        process = subprocess.Popen(
            operator.command("serve", "--port", "0", "--workers", str(count)),
            cwd=REPOSITORY,
            env=operator.environment | settings,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        service = cls(operator, process, count)
        threading.Thread(target=service._listen, daemon=True).start()
        try:
            eventually(lambda: service.port() is not None, "the service listens", START_SECONDS)
        except BaseException:
            # Nobody else knows of it yet, and its processes would stay.
            service.kill()
            raise
        service.url = f"http://127.0.0.1:{service.port()}"
        return service

    def token(self, role: str) -> str:
        created = self.operator.run("access", "create", "--label", "test", "--json", "--role", role)
        return str(created.data["token"])

    def _listen(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.lines.append(line)

    def port(self) -> int | None:
        assert self.process.poll() is None, "".join(self.lines)
        words = [line.partition("listening on 127.0.0.1 port ")[2] for line in list(self.lines)]
        return next((int(word.partition('"')[0]) for word in words if word), None)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        try:
            self.process.wait(WAIT_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()

    # --- its processes

    def children(self) -> dict[int, str]:
        """Process ids and command lines of what the supervisor has started and what still lives."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                facts = (folder / "stat").read_text().rpartition(")")[2].split()
                if int(facts[1]) == self.process.pid and facts[0] not in "ZX":
                    found[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
        return found

    def workers(self) -> set[int]:
        return {pid for pid, words in self.children().items() if "api.http.worker" in words}

    def serving(self) -> set[int]:
        """Workers that have a lease and are not on their way out."""
        current = dict(self.rows("SELECT tree, version FROM trees"))
        known = {
            pid for pid, version in self.rows("SELECT pid, active_version FROM nodes") if version == current["active"]
        }
        return self.workers() & known

    def until_complete(self) -> None:
        eventually(lambda: len(self.workers()) == len(self.serving()) == self.count, "all workers serve", START_SECONDS)

    def scan(self, wanted: dict[str, bytes], *others: int) -> dict[int, set[str]]:
        """What of these values stands in the memory of each process: supervisor, workers, object store, others."""
        return {pid: found_in(pid, wanted) for pid in (self.process.pid, *self.children(), *others)}

    # --- what it has written

    def rows(self, query: str) -> list[Any]:
        connection = sqlite3.connect(self.operator.home / "catalogue.db", timeout=20)
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()

    def values(self, records: dict[str, str]) -> dict[str, bytes]:
        """The master, and the keys on the paths to these records (by name), as the custodian gives them now."""
        found = {}
        with open_vault(self.operator.home) as vault, vault.catalogue.read() as tx:
            root = keys.current_root(tx, Tree.ACTIVE)
            folder = Path(custodian_of(vault, tx, root).uri.removeprefix("file:"))
            (file,) = [path for path in folder.iterdir() if path.stem == root.master]
            found["master"] = file.read_bytes()
            with OpenTree.open(vault.vault_id, root, custodian_of(vault, tx, root)) as opened:
                found["root key"] = bytes(opened.root_key.reveal())
                for name, record in records.items():
                    cohort, slot = self.rows(f"SELECT cohort_id, slot FROM records WHERE id = '{record}'")[0]
                    with opened.root_page.key(cohort) as key:
                        found[f"page key of {name}"] = bytes(key.reveal())
                    with opened.record_key(keys.load_page(tx, Tree.ACTIVE, cohort), slot) as key:
                        found[f"record key of {name}"] = bytes(key.reveal())
        assert bytes(32) not in found.values()
        return found

    # --- its callers

    def client(self) -> httpx2.Client:
        return httpx2.Client(base_url=self.url, trust_env=False, timeout=WAIT_SECONDS, verify=NO_AUTHORITIES)

    def open(self, client: httpx2.Client, name: str = "Ada") -> str:
        answer = client.post(
            "/v1/records",
            json={"applicant": {"given_name": name, "family_name": "Aster"}},
            headers={"Authorization": f"Bearer {self.center}", "Idempotency-Key": str(uuid.uuid4())},
        )
        assert answer.status_code == 201, answer.text
        return str(answer.json()["record_id"])

    def put(self, client: httpx2.Client, record: str, content: bytes, name: str = "a.pdf") -> httpx2.Response:
        path = f"/v1/records/{record}/documents/{name}"
        return client.put(path, content=content, headers={"Authorization": f"Bearer {self.center}"})

    def get(self, client: httpx2.Client, record: str, name: str = "a.pdf") -> httpx2.Response:
        headers = {"Authorization": f"Bearer {self.reviewer}", "Purpose": "audit"}
        return client.get(f"/v1/records/{record}/documents/{name}", headers=headers)

    def file(self, client: httpx2.Client, content: bytes, name: str = "Ada") -> str:
        record = self.open(client, name)
        assert self.put(client, record, content).status_code == 201
        path = f"/v1/records/{record}/complete"
        assert client.post(path, headers={"Authorization": f"Bearer {self.center}"}).is_success
        return record

    def wire(self) -> "Wire":
        return Wire(self)


class Wire:
    """One slow caller, by hand."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.settimeout(WAIT_SECONDS)
        address = urlsplit(service.url)
        self.socket.connect((address.hostname, address.port))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def begin_get(self, record: str, name: str = "a.pdf") -> bytes:
        """Ask for a document, and take the first bytes of it."""
        service = self._service
        self._head("GET", record, service.reviewer, "Purpose: audit", name)
        return self.socket.recv(2000)

    def begin_put(self, record: str, size: int, first: bytes, name: str = "late.pdf") -> None:
        self._head("PUT", record, self._service.center, f"Content-Length: {size}", name)
        self.socket.sendall(first)

    def _head(self, method: str, record: str, token: str, more: str, name: str = "a.pdf") -> None:
        lines = [f"{method} /v1/records/{record}/documents/{quote(name)} HTTP/1.1", "Host: vault", more]
        lines.append(f"Authorization: Bearer {token}")
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode())

    def answer(self) -> tuple[int, dict[str, str], dict[str, Any]]:
        with http.client.HTTPResponse(self.socket) as response:
            response.begin()
            headers = {name.lower(): value for name, value in response.getheaders()}
            return response.status, headers, json.loads(response.read())

    def rest(self) -> int:
        """How many bytes still come."""
        count = 0
        with suppress(ConnectionResetError):
            while piece := self.socket.recv(65_536):
                count += len(piece)
        return count


def is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def stop(pid: int) -> None:
    os.kill(pid, signal.SIGSTOP)
    eventually(lambda: is_stopped(pid), "the process is stopped")
