"""A vault behind its real HTTP server, and two ways of speaking to it: a good client and raw sockets."""

import hashlib
import http.client
import io
import json
import secrets
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import quote, urlsplit

import httpx2
import sqlalchemy as sa

from api.http import background_server
from api.http.limits import Limits
from api.http.logs import make_log
from tests.people import founded_by
from tests.services.object_stores import ACCESS_KEY, SECRET_KEY
from vault.access import Role, create_token
from vault.catalogue.schema import reads
from vault.clocks.clock import Clock
from vault.context import Vault
from vault.home import Founding, found_vault, open_vault
from vault.objects import Bucket, BucketSettings
from vault.serving import fences

MIB = 1024 * 1024
LIMIT = 25 * MIB
PDF_HEAD, PDF_END = b"%PDF-1.7\n", b"\n%%EOF\n"
PURPOSE = "application-review"
SPECIMENS = Path(__file__).resolve().parents[1] / "specimens"
SPECIMEN = {
    "application/pdf": SPECIMENS / "lease-1.pdf",
    "image/jpeg": SPECIMENS / "passport-1.jpg",
    "image/png": SPECIMENS / "letter-1.png",
    "image/tiff": SPECIMENS / "utility-bill-1.tiff",
}
WAIT_SECONDS = 60.0
_RANDOM = Random(11)


def pdf(size: int = 500) -> bytes:
    """Something that passes for a PDF of `size` bytes, unlike any other."""
    return PDF_HEAD + _RANDOM.randbytes(size - len(PDF_HEAD) - len(PDF_END)) + PDF_END


class Counts(NamedTuple):
    """What a refused request must leave as it was."""

    records: int
    documents: int
    reads: int
    objects: int
    unfinished: int


class Sink(io.StringIO):
    """Keeps what servers log."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[str] = []
        self._lock = threading.Lock()

    def write(self, text: str, /) -> int:
        with self._lock:
            self._pieces.append(text)
        return len(text)

    @property
    def text(self) -> str:
        with self._lock:
            return "".join(self._pieces)

    def mark(self) -> int:
        return len(self.text)

    def lines(self, since: int = 0) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text[since:].splitlines()]


def key_of(word: str | None) -> str:
    """The key that a word stands for; without a word, a fresh one."""
    return str(uuid.UUID(bytes=hashlib.sha256(word.encode()).digest()[:16], version=4) if word else uuid.uuid4())


@dataclass
class Site:
    """One vault, served."""

    folder: Path
    vault: Vault
    node: fences.Node
    url: str
    stored: Bucket
    """The bucket, reached directly whatever happens to the vault's way to it."""
    client: httpx2.Client
    center: str
    other_center: str
    reviewer: str

    # --- the good client

    def call(self, method: str, path: str, token: str | None = None, **more: Any) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {token or self.center}"} | more.pop("headers", {})
        return self.client.request(method, path, headers=headers, **more)

    def post(self, key: str | None = None, body: Any = None, token: str | None = None) -> httpx2.Response:
        given = {"applicant": {"given_name": "Ottoline", "family_name": "Vexley"}} if body is None else body
        content = given if isinstance(given, bytes) else json.dumps(given).encode()
        headers = {"Idempotency-Key": key_of(key), "Content-Type": "application/json"}
        return self.call("POST", "/v1/records", token, content=content, headers=headers)

    def open(self) -> str:
        answer = self.post()
        assert answer.status_code == 201, answer.text
        return record_of(answer)

    def put(self, record: str, content: Any, name: str = "scan.pdf", **more: Any) -> httpx2.Response:
        return self.call("PUT", document(record, name), content=content, **more)

    def complete(self, record: str) -> httpx2.Response:
        return self.call("POST", f"/v1/records/{record}/complete")

    def file(self, *contents: bytes) -> str:
        """A complete record with `scan.pdf`, and then `scan-1.pdf` and so on."""
        record = self.open()
        for number, content in enumerate(contents or (pdf(),)):
            answer = self.put(record, content, f"scan-{number}.pdf" if number else "scan.pdf")
            assert answer.status_code == 201, answer.text
        assert self.complete(record).status_code == 200
        return record

    def read(self, path: str, purpose: str | None = PURPOSE, token: str | None = None) -> httpx2.Response:
        return self.call("GET", path, token or self.reviewer, headers={"Purpose": purpose} if purpose else {})

    def fetch(self, record: str, name: str = "scan.pdf") -> bytes:
        answer = self.read(document(record, name))
        assert answer.status_code == 200, answer.text
        return answer.content

    # --- raw sockets

    def wire(self) -> "Wire":
        address = urlsplit(self.url)
        assert address.hostname
        assert address.port
        return Wire(address.hostname, address.port)

    def put_head(self, record: str, name: str = "scan.pdf", **headers: str) -> bytes:
        return head("PUT", document(record, name), self.center, headers)

    def get_head(self, path: str, **headers: str) -> bytes:
        return head("GET", path, self.reviewer, {"Purpose": PURPOSE} | headers)

    # --- what is there

    def counts(self) -> Counts:
        with self.vault.catalogue.read() as tx:
            query = (
                "SELECT (SELECT count(*) FROM records), (SELECT count(*) FROM documents), (SELECT count(*) FROM reads)"
            )
            filed, documents, noted = tx.execute(sa.text(query)).one()
        objects = sum(1 for _ in self.stored.versions("documents/"))
        return Counts(filed, documents, noted, objects, sum(1 for _ in self.stored.unfinished("documents/")))

    def reads_of(self, record: str) -> list[Any]:
        with self.vault.catalogue.read() as tx:
            return list(tx.execute(sa.select(reads).where(reads.c.record_id == record).order_by(reads.c.id)))

    def value(self, query: str, **values: Any) -> Any:
        with self.vault.catalogue.read() as tx:
            return tx.execute(sa.text(query), values).scalar()

    def count(self, query: sa.Select[int]) -> int:
        with self.vault.catalogue.read() as tx:
            return tx.execute(query).scalar_one()

    def object_of(self, record: str) -> str:
        """Name of the object of a record's only document."""
        return str(self.value("SELECT object_name FROM documents WHERE record_id = :record", record=record))

    def uploads_in_flight(self) -> int:
        found = [line for line in self.client.get("/metrics").text.splitlines() if "in_flight " in line]
        return int(float(found[-1].split()[-1]))

    def until_quiet(self) -> None:
        """Wait until the server has dealt with every upload, also those that were cut off."""
        eventually(lambda: self.uploads_in_flight() == 0)


class Wire:
    """One connection, spoken by hand."""

    def __init__(self, host: str, port: int) -> None:
        self.socket = socket.create_connection((host, port), timeout=WAIT_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def send_chunk(self, data: bytes) -> None:
        """A chunk of a chunked body; an empty one ends it."""
        self.socket.sendall(b"%x\r\n%b\r\n" % (len(data), data))

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        """The next answer, whole."""
        response = http.client.HTTPResponse(self.socket)
        with response:
            response.begin()
            headers = {name.lower(): value for name, value in response.getheaders()}
            return response.status, headers, response.read()

    def read_to_end(self) -> bytes:
        """Everything until the server closes the connection."""
        pieces = []
        try:
            while piece := self.socket.recv(65_536):
                pieces.append(piece)
        except ConnectionResetError:
            pass
        return b"".join(pieces)


def record_of(answer: httpx2.Response) -> str:
    return str(answer.json()["record_id"])


def document(record: str, name: str) -> str:
    return f"/v1/records/{record}/documents/{quote(name, safe='')}"


def head(method: str, path: str, token: str | None, headers: dict[str, str]) -> bytes:
    """Request line and headers; names are written with `_` for `-`."""
    lines = [f"{method} {path} HTTP/1.1", "Host: vault"]
    lines += [f"Authorization: Bearer {token}"] if token else []
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def eventually(holds: Callable[[], bool], seconds: float = WAIT_SECONDS) -> None:
    """Wait until something holds that another thread brings about."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "It did not come about in time."
        time.sleep(0.01)


def assert_problem(answer: httpx2.Response, status: int, slug: str = "") -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["type"].startswith("urn:shredvault:problem:")
    assert problem["type"].endswith(slug)
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]


@contextmanager
def served(
    folder: Path,
    store: str,
    logs: Sink,
    *,
    way: str | None = None,
    clock: Clock | None = None,
    lease: bool = True,
    limits: Limits | None = None,
    database: str | None = None,
) -> Iterator[Site]:
    """Found a vault in `folder` over the object store at `store`, and serve it.

    `way`: the URL by which the vault reaches the store, if not directly; it then gives up quickly.
    """
    bucket = f"http-{secrets.token_hex(8)}"
    founding = founded_by(
        Founding(
            home=folder / "home",
            objects=store,
            objects_folder=folder / "objects",
            bucket=bucket,
            region="us-east-1",
            custodian=f"file:{folder / 'keys'}",
            time_zone="America/New_York",
            retention_months=24,
            access_key=ACCESS_KEY,
            secret_key=SECRET_KEY,
            database=database,
        )
    )
    assert found_vault(founding, clock)
    with open_vault(folder / "home", clock) as opened:
        vault = opened
        if way is not None:
            settings = BucketSettings(way, "us-east-1", bucket, ACCESS_KEY, SECRET_KEY, 2.0, 5.0, attempts=1)
            vault = replace(opened, bucket=Bucket(settings))
        tokens = [create_token(vault, role, "test") for role in (Role.CENTER, Role.CENTER, Role.REVIEWER)]
        node = fences.Node(vault)
        try:
            with (
                maybe(node, enter=lease),
                background_server(vault, node, limits=limits, log=make_log(logs)) as url,
                httpx2.Client(base_url=url, timeout=30, limits=httpx2.Limits(max_connections=100)) as client,
            ):
                yield Site(folder, vault, node, url, opened.bucket, client, *tokens)
        finally:
            if way is not None:
                vault.bucket.close()


@contextmanager
def maybe(node: fences.Node, *, enter: bool) -> Iterator[None]:
    """A node with its lease, or one that has none."""
    if not enter:
        yield
        return
    with node:
        yield
