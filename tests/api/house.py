"""A served vault for tests, a well-behaved client, and connections spoken by hand."""

import http.client
import io
import json
import random
import secrets
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import quote, urlsplit

import httpx2
import sqlalchemy as sa

from api.http.limits import Limits
from api.http.logs import make_log
from api.http.server import background_server
from tests.services.object_stores import ACCESS_KEY, SECRET_KEY
from vault.access import Role, create_token
from vault.catalogue.schema import documents, reads, records
from vault.context import Vault
from vault.fences import Node
from vault.home import Founding, found_vault, open_vault
from vault.objects import Bucket, BucketSettings

MIB = 1024 * 1024
SPECIMENS = Path(__file__).resolve().parents[1] / "specimens"
APPLICANT = {"applicant": {"family_name": "Vexley", "given_name": "Ottoline"}}
LIMITS = Limits(silence_s=1.5, linger_s=0.5, check_every_s=0.0, check_s=8.0)
_DICE = random.Random(7)


def new_key() -> str:
    return str(uuid.uuid4())


def specimen(name: str) -> bytes:
    return (SPECIMENS / name).read_bytes()


def pdf(size: int) -> bytes:
    """Passes for a PDF; unlike any other."""
    return b"%PDF-" + _DICE.randbytes(size - 10) + b"%%EOF"


class Lines(io.StringIO):
    """Log lines; written by several threads, one write each."""

    def since(self, mark: int) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.getvalue()[mark:].splitlines()]


    def one(self, mark: int, **fields: object) -> dict[str, Any]:
        """The one line since `mark` with these fields; it is written just after its answer has gone out."""
        found: list[dict[str, Any]] = []

        def there() -> bool:
            found[:] = [line for line in self.since(mark) if fields.items() <= line.items()]
            return bool(found)

        eventually(there)
        (line,) = found
        return line


class Counts(NamedTuple):
    records: int
    documents: int
    reads: int


@dataclass
class House:
    """A vault, served."""

    folder: Path
    vault: Vault
    node: Node
    url: str
    log: Lines
    client: httpx2.Client
    center: str
    other_center: str
    reviewer: str

    def call(self, method: str, path: str, token: str | None, **more: Any) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return self.client.request(method, path, headers=headers | more.pop("headers", {}), **more)

    def open(self, key: str | None = None, body: Any = APPLICANT, token: str | None = None) -> httpx2.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", "Idempotency-Key": key or new_key()}
        return self.call("POST", "/v1/records", token or self.center, content=content, headers=headers)

    def record(self) -> str:
        answer = self.open()
        assert answer.status_code == 201, answer.text
        return str(answer.json()["record_id"])

    def put(self, record: str, content: Any, name: str = "scan.pdf", **more: Any) -> httpx2.Response:
        return self.call("PUT", place(record, name), more.pop("token", self.center), content=content, **more)

    def complete(self, record: str, token: str | None = None) -> httpx2.Response:
        return self.call("POST", f"/v1/records/{record}/complete", token or self.center)

    def filed(self, content: bytes, name: str = "scan.pdf") -> str:
        record = self.record()
        answer = self.put(record, content, name)
        assert answer.status_code == 201, answer.text
        assert self.complete(record).status_code == 200
        return record

    def get(self, path: str, purpose: str | None = "audit", token: str | None = None) -> httpx2.Response:
        return self.call("GET", path, token or self.reviewer, headers={"Purpose": purpose} if purpose else {})

    def wire(self) -> "Wire":
        address = urlsplit(self.url)
        assert address.hostname
        assert address.port
        return Wire(address.hostname, address.port)

    def put_head(self, record: str, *lines: str, name: str = "scan.pdf", token: str | None = None) -> bytes:
        return head("PUT", place(record, name), f"Authorization: Bearer {token or self.center}", *lines)

    def counts(self) -> Counts:
        with self.vault.catalogue.read() as tx:
            return Counts(
                *(
                    tx.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
                    for table in (records, documents, reads)
                )
            )

    def documents_of(self, record: str) -> int:
        with self.vault.catalogue.read() as tx:
            query = sa.select(sa.func.count()).select_from(documents).where(documents.c.record_id == record)
            return tx.execute(query).scalar_one()

    def objects(self) -> set[str]:
        """Names of documents in the bucket, finished or not."""
        bucket = self.vault.bucket
        return {*bucket.names("documents/"), *(upload.name for upload in bucket.unfinished("documents/"))}

    def metric(self, name: str) -> float:
        lines = self.client.get("/metrics").text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))

    def until_quiet(self) -> None:
        eventually(lambda: self.metric("shredvault_uploads_in_flight ") == 0)


class Wire:
    """One connection, spoken by hand."""

    def __init__(self, host: str, port: int) -> None:
        self.socket = socket.create_connection((host, port), timeout=15)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        response = http.client.HTTPResponse(self.socket)
        with response:
            response.begin()
            return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()

    def ended(self) -> bool:
        """Whether the server ends the connection without another byte."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True


def place(record: str, name: str) -> str:
    return f"/v1/records/{record}/documents/{quote(name, safe='')}"


def head(method: str, path: str, *lines: str) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: vault", *lines, "", ""]).encode()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def eventually(holds: Callable[[], bool], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "It did not come about in time."
        time.sleep(0.02)


def at_once(*jobs: Callable[[], Any]) -> list[Any]:
    """Do jobs in threads that start together."""
    gate = threading.Barrier(len(jobs))
    results: list[Any] = [None] * len(jobs)

    def run(number: int, job: Callable[[], Any]) -> None:
        gate.wait()
        results[number] = job()

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def assert_problem(answer: httpx2.Response, status: int, slug: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    problem: dict[str, Any] = answer.json()
    assert problem["type"] == f"urn:shredvault:problem:{slug}"
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]
    assert problem["request_id"] == answer.headers["request-id"]
    if status in {503, 507}:
        assert int(answer.headers["retry-after"]) > 0
    return problem


@contextmanager
def served(folder: Path, store: str, *, way: str | None = None, limits: Limits = LIMITS) -> Iterator[House]:
    """Found a vault over the object store at `store` and serve it.

    `way`: the URL by which the vault reaches the store, if not directly; it then gives up quickly.
    """
    name = f"api-{secrets.token_hex(8)}"
    found_vault(
        Founding(
            home=folder / "home",
            objects=store,
            objects_folder=folder / "objects",
            bucket=name,
            region="us-east-1",
            custodian=f"file:{folder / 'keys'}",
            time_zone="America/New_York",
            retention_months=24,
            access_key=ACCESS_KEY,
            secret_key=SECRET_KEY,
        )
    )
    log = Lines()
    with open_vault(folder / "home") as vault:
        if way is not None:
            settings = BucketSettings(way, "us-east-1", name, ACCESS_KEY, SECRET_KEY, 1.0, 1.0, attempts=1)
            vault = replace(vault, bucket=Bucket(settings))  # noqa: PLW2901
        tokens = [create_token(vault, role, "test") for role in (Role.CENTER, Role.CENTER, Role.REVIEWER)]
        with (
            Node(vault) as node,
            background_server(vault, node, limits=limits, log=make_log(log)) as url,
            httpx2.Client(base_url=url, timeout=30, trust_env=False) as client,
        ):
            yield House(folder, vault, node, url, log, client, *tokens)
        if way is not None:
            vault.bucket.close()
