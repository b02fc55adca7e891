"""A vault that is served for real: `shredvault serve` with workers, a real object store, commands, callers over HTTP.

Whatever is asked is asked again where the answer is "come again", or where the connection breaks, as the documentation
of the service tells its callers to do.
"""

import os
import shutil
import signal
import sqlite3
import time
import uuid
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2

from tests.cli.forked import REPOSITORY, Forker
from tests.cli.operator import Operator, Outcome, environment_for
from tests.fences.service import START_SECONDS, Service
from tests.people import written_policy
from tests.seizure.conductor import Conductor, Heard
from tests.seizure.faults import FAULTS
from tests.seizure.insider import FOLDER, LOGS, TEMPORARY
from tests.vault.databases import Files
from tests.vault.world import PURPOSE, START, Record, World
from vault.access import Role, authenticate, create_token
from vault.clocks.clock import SimulatedClock
from vault.errors import DestroyedError, NotFoundError
from vault.home import CATALOGUE, Home, open_vault
from vault.ids import DocumentId, RecordId
from vault.records.uploads import Filed

WORKERS = 2
COME_AGAIN, GONE, UNKNOWN = 503, 410, 404
_AGAIN_SECONDS = 0.05


@dataclass
class ServedWorld(World):
    """The vault as its callers and its operator meet it; `vault` is the judges' own view of it."""

    operator: Operator = field(kw_only=True)
    conductor: Conductor = field(kw_only=True)
    service: Service = field(kw_only=True)
    callers: httpx2.Client = field(kw_only=True)
    view: ExitStack = field(kw_only=True)
    sees: bool = True
    said: list[str] = field(default_factory=list)
    """Lines of services that have ended."""

    # --- callers

    def open(self, **applicant: Any) -> Record:
        name = applicant.pop("name")
        fields = {"family_name": name, "more": applicant}
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        answer = self._ask("POST", "/v1/records", Role.CENTER, json={"applicant": fields}, headers=headers)
        assert answer.status_code in (200, 201), answer.text
        record = Record(RecordId(answer.json()["record_id"]), fields)
        self.records.append(record)
        return record

    def upload(self, record: Record, name: str = "card.png", content: bytes | None = None) -> Filed:
        assert content is not None
        answer = self._ask("PUT", _document(record, name), Role.CENTER, content=content)
        assert answer.status_code in (200, 201), answer.text
        record.documents[name] = content
        told = answer.json()
        return Filed(DocumentId(told["document_id"]), told["size"], told["media_type"], answer.status_code == 200)

    def complete(self, record: Record) -> None:
        answer = self._ask("POST", f"/v1/records/{record.id}/complete", Role.CENTER)
        assert answer.is_success, answer.text

    def assert_readable(self, *records: Record) -> None:
        for record in records:
            seen = self._read(record.id, f"/v1/records/{record.id}").json()
            assert seen["applicant"] == record.applicant
            assert {line["name"] for line in seen["documents"]} == set(record.documents)
            for name, content in record.documents.items():
                assert self._read(record.id, _document(record, name)).content == content

    def _read(self, record: RecordId, path: str) -> httpx2.Response:
        answer = self._ask("GET", path, Role.REVIEWER, headers={"Purpose": PURPOSE})
        if answer.status_code == GONE:
            raise DestroyedError(record)
        if answer.status_code == UNKNOWN:
            message = "The service does not know it."
            raise NotFoundError(message)
        assert answer.status_code == 200, answer.text
        return answer

    def _ask(self, method: str, path: str, role: Role, **more: Any) -> httpx2.Response:
        token = self.service.center if role is Role.CENTER else self.service.reviewer
        headers = {**more.pop("headers", {}), "Authorization": f"Bearer {token}"}
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                answer = self.callers.request(method, self.service.url + path, headers=headers, **more)
            except httpx2.TransportError:
                if time.monotonic() > deadline:
                    raise
            else:
                if answer.status_code != COME_AGAIN or time.monotonic() > deadline:
                    return answer
            time.sleep(_AGAIN_SECONDS)

    # --- its processes

    def processes(self) -> dict[int, str]:
        """Every living process of the vault, and its command line: service, workers, object store, commands."""
        mark, found = str(self.folder.parent).encode() + b"/", {}
        for entry in Path("/proc").glob("[0-9]*"):
            pid = int(entry.name)
            with suppress(OSError):
                words = (entry / "cmdline").read_bytes()
                if mark in words + (entry / "environ").read_bytes().replace(b"\0", b"/\0") and is_there(pid):
                    found[pid] = words.replace(b"\0", b" ").decode()
        return {pid: words for pid, words in found.items() if pid not in (os.getpid(), self.operator.forker.pid)}

    def store(self) -> list[int]:
        """The object store, where it lives."""
        return sorted(pid for pid, words in self.processes().items() if "weed" in words)

    # --- the operator

    def command(self, *words: str, heard: Heard = lambda _step, _pid: None) -> Outcome:
        """Run a command; `heard` is told each step of a destruction in it, in a thread of its own."""
        with self.conductor.hearing(heard):
            return self.operator.run(*words)

    def advance(self, **step: float) -> None:
        super().advance(**step)
        self.conductor.set_vault_clock(self.clock.now())

    def stop(self) -> None:
        """End the service in order."""
        self.shut()
        self.service.kill()
        self.said += self.service.lines
        self.service.lines.clear()

    def kill(self) -> None:
        """Kill the supervisor; whatever it has started dies with it."""
        left = self.processes()
        self.service.process.send_signal(signal.SIGKILL)
        self.stop()
        while any(is_there(pid) for pid in left):
            time.sleep(0.01)

    def serve(self) -> None:
        """Start the service again, with the tokens that there are."""
        before = self.service
        self.service = Service.launch(self.operator, WORKERS)
        self.service.center, self.service.reviewer = before.center, before.reviewer
        self.service.until_complete()
        self.shut()
        self.look()

    def look(self) -> None:
        """Give the judges a view of the vault as it is now, where they have none."""
        if not self.sees:
            endpoint = (self.folder / "objects" / "endpoint").read_text()
            self.vault = self.view.enter_context(open_vault(self.operator.home, self.clock, endpoint=endpoint))
            self.sees = True

    def shut(self) -> None:
        """Take the view away: what it looked at goes."""
        self.view.close()
        self.sees = False

    def restart(self) -> None:
        self.stop()
        self.serve()

    def write_log(self) -> None:
        """Put all that the services have said beside the other logs."""
        lines = [*self.said, *self.service.lines]
        (self.folder.parent / LOGS / "serve").write_text("".join(lines), "utf-8")

    def back_up(self, place: Path) -> None:
        """Copy the home while it is in use."""
        shutil.copytree(self.operator.home, place, ignore=shutil.ignore_patterns(f"{CATALOGUE}*"))
        with (
            closing(sqlite3.connect(self.operator.home / CATALOGUE)) as source,
            closing(sqlite3.connect(place / CATALOGUE)) as copy,
        ):
            source.backup(copy)

    def put_back(self, place: Path) -> None:
        """Restore the home while nothing runs."""
        shutil.rmtree(self.operator.home)
        shutil.copytree(place, self.operator.home)


def is_there(pid: int) -> bool:
    """Whether a process still has its memory."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def _document(record: Record, name: str) -> str:
    return f"/v1/records/{record.id}/documents/{quote(name)}"


def found_served_world(
    folder: Path, compiled: Path | None, conductor: Conductor, closing: ExitStack, faults: str = ""
) -> ServedWorld:
    """Found a vault with a file custodian and an embedded store, and serve it until `closing` ends everything."""
    settings = {
        "SHREDVAULT_HOME": str(folder / "world" / "home"),
        "SHREDVAULT_OBJECTS_FOLDER": str(folder / "world" / "objects"),
        "SHREDVAULT_CUSTODIAN": f"file:{folder / 'keys'}",
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent / "inside"), str(REPOSITORY)]),
        "TMPDIR": str(folder / TEMPORARY),
        FOLDER: str(folder),
        FAULTS: faults,
    }
    environment = environment_for(folder / "world", compiled, **settings)
    (folder / "streams").mkdir()
    clock = SimulatedClock(START)
    conductor.set_vault_clock(clock.now())
    operator = Operator(folder / "world", environment, Forker(folder / "streams", environment))
    closing.callback(operator.forker.close)
    assert operator.run("init", *written_policy(operator.folder)).code == 0
    service = Service.launch(operator, WORKERS)
    view = ExitStack()
    endpoint = (folder / "world" / "objects" / "endpoint").read_text()
    vault = view.enter_context(open_vault(operator.home, clock, endpoint=endpoint))
    service.center, service.reviewer = (create_token(vault, role, role.value) for role in (Role.CENTER, Role.REVIEWER))
    center, reviewer = (authenticate(vault, token) for token in (service.center, service.reviewer))
    service.until_complete()
    files = Files(operator.home / CATALOGUE)
    database = Home.at(operator.home).database
    callers = closing.enter_context(httpx2.Client(trust_env=False, timeout=START_SECONDS))
    world = ServedWorld(
        folder / "world",
        vault,
        clock,
        center,
        reviewer,
        files,
        database,
        operator=operator,
        conductor=conductor,
        service=service,
        callers=callers,
        view=view,
    )
    closing.callback(world.stop)
    return world
