"""Where the demo plays: a vault in a temporary folder, its HTTP service, twelve people and their papers.

Everything is real but the calendar and the people.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from uuid import uuid4

import httpx2

from api.http.logs import make_log
from api.http.server import background_server
from vault.access import Role, create_token
from vault.adversary import Copy, Haul, attack, copied_masters, live_copy, open_backup, seize
from vault.clocks.clock import SimulatedClock
from vault.context import Vault
from vault.destruction.carrying_out import carry_out
from vault.destruction.drafting import Terms, draft_scrub
from vault.destruction.frozen_lists import freeze_ordered, freeze_sweep
from vault.destruction.reclaim import reclaim
from vault.holds import Kind, Scope, place_hold
from vault.holds import Terms as HoldTerms
from vault.ids import DestructionId
from vault.law.retention import Cause
from vault.orders import accept_order
from vault.orders.signatures import ORDERS
from vault.serving.fences import Node
from vault.status import find_destruction, write_destruction_record

from .demo_people import DemoPeople
from .exits import CommandError, ExitCode
from .temporary import temporary_vault

__all__ = ["Destroyed", "Filed", "Loot", "Stage", "read_specimens", "set_stage"]

FIRST_DAY: Final = datetime(2026, 1, 5, 15, tzinfo=UTC)
RETENTION_MONTHS: Final = 24
_SPECIMENS: Final = Path(__file__).resolve().parents[2] / "tests" / "specimens"
_SUFFIXES: Final = (".jpg", ".pdf", ".png", ".tiff")
_TYPES: Final = {".jpg": "image/jpeg", ".pdf": "application/pdf", ".png": "image/png", ".tiff": "image/tiff"}
_BEATS_SECONDS: Final = 0.5
"""Long enough for the heartbeat to notice that the calendar was turned."""


@dataclass(frozen=True, slots=True)
class Filed:
    """One person's record, and the papers as they were handed in."""

    record_id: str
    papers: dict[str, bytes]


@dataclass(frozen=True, slots=True)
class Destroyed:
    """One destruction: how many records, how long it took from the frozen list on, and where that stands."""

    count: int
    seconds: float
    record: Path


@dataclass(frozen=True, slots=True)
class Loot:
    """One full copy that the thief took."""

    folder: Path
    files: int
    size: int


def read_specimens() -> dict[str, bytes]:
    """The specimen scans: file name to content.

    Raises:
        CommandError: this installation does not have them.
    """
    found = sorted(path for path in _SPECIMENS.glob("*") if path.suffix in _SUFFIXES)
    if not found:
        message = (
            "The demo files the specimen scans of Shredvault's repository (tests/specimens); this installation "
            "does not have them. Run it from a checkout: make demo."
        )
        raise CommandError(ExitCode.USAGE, message)
    return {path.name: path.read_bytes() for path in found}


class Stage:
    """The vault and everybody who has to do with it."""

    def __init__(
        self, folder: Path, vault: Vault, clock: SimulatedClock, client: httpx2.Client, people: DemoPeople
    ) -> None:
        self._people = people
        self._folder = folder
        self._vault = vault
        self._clock = clock
        self._client = client
        self._center = _bearer(create_token(vault, Role.CENTER, "Queens center"))
        self._reviewer = _bearer(create_token(vault, Role.REVIEWER, "Reviewer")) | {"Purpose": "audit"}
        self._asides = 0

    @property
    def today(self) -> str:
        """The simulated date."""
        return self._clock.now().date().isoformat()

    def turn_calendar(self, to: datetime) -> None:
        """Move the clock forward, and let the heartbeat notice."""
        self._clock.advance(to - self._clock.now())
        time.sleep(_BEATS_SECONDS)

    # --- the center and the reviewer, over HTTP ---

    def file_record(self, name: str, papers: dict[str, bytes]) -> Filed:
        """File one person's papers as a center does."""
        given_name, _, family_name = name.partition(" ")
        opened = self._ok(
            self._client.post(
                "/v1/records",
                json={"applicant": {"given_name": given_name, "family_name": family_name}},
                headers=self._center | {"Idempotency-Key": str(uuid4())},
            )
        ).json()
        record_id = str(opened["record_id"])
        for file_name, content in papers.items():
            media_type = {"Content-Type": _TYPES[Path(file_name).suffix]}
            path = f"/v1/records/{record_id}/documents/{file_name}"
            self._ok(self._client.put(path, content=content, headers=self._center | media_type))
        self._ok(self._client.post(f"/v1/records/{record_id}/complete", headers=self._center))
        return Filed(record_id, papers)

    def center_may_read(self, filed: Filed) -> int:
        """The HTTP status a center gets that wants to read what it filed."""
        headers = self._center | {"Purpose": "audit"}
        return self._client.get(_first_document(filed), headers=headers).status_code

    def read_back(self, filed: Filed) -> tuple[set[int], int]:
        """Read all of a record as a reviewer: the HTTP statuses seen, and how many scans came back unchanged."""
        statuses: set[int] = set()
        same = 0
        for name, content in filed.papers.items():
            path = f"/v1/records/{filed.record_id}/documents/{name}"
            answer = self._client.get(path, headers=self._reviewer)
            statuses.add(answer.status_code)
            same += answer.is_success and answer.content == content
        return statuses, same

    def _ok(self, answer: httpx2.Response) -> httpx2.Response:
        if not answer.is_success:
            message = f"The vault's own service answered {answer.status_code} where it should have accepted."
            raise CommandError(ExitCode.INCIDENT, message)
        return answer

    # --- the operator ---

    def destroy(self, cause: Cause, records: Path) -> Destroyed:
        """What `shredvault sweep` and `scrub` do. A copy of the dying master is put aside, for the control only."""
        self._put_masters_aside()
        started = time.perf_counter()
        done = carry_out(self._vault, self._freeze(cause))
        seconds = time.perf_counter() - started
        reclaim(self._vault)
        done = find_destruction(self._vault, done.id)
        return Destroyed(done.condemned or 0, seconds, write_destruction_record(records, done))

    def _freeze(self, cause: Cause) -> DestructionId:
        """The sweep stands under the policy; a scrub under an order that three people of the demo sign."""
        if cause is Cause.SWEEP:
            return freeze_sweep(self._vault)
        terms = Terms("The program ends.", "An order of the city", cooling_off_hours=0)
        body = draft_scrub(self._vault, terms).order.encode()
        accepted = accept_order(self._vault, body, self._people.sign(body, ORDERS))
        return freeze_ordered(self._vault, accepted.id)

    def hold(self, chosen: list[Filed], docket: str) -> dict[str, str]:
        """What `shredvault hold place` does; the answers."""
        terms = HoldTerms(Kind.COURT_ORDER, "Supreme Court", docket)
        return place_hold(self._vault, terms, Scope(tuple(one.record_id for one in chosen)), "counsel").answers

    def _put_masters_aside(self) -> None:
        shutil.copytree(self._folder / "keys", self._folder / "aside", dirs_exist_ok=True)

    # --- the thief ---

    def steal(self) -> Loot:
        """Copy the whole home and the whole object store, as a backup does."""
        self._asides += 1
        into = self._folder / f"stolen-{self._asides}"
        seize(self._vault, self._folder / "home", self._folder / "objects", into)
        files = [path for path in into.rglob("*") if path.is_file()]
        return Loot(into, len(files), sum(path.stat().st_size for path in files))

    def attack(self, loot: list[Loot], *, with_destroyed_masters: bool) -> Haul:
        """Try everything: the copies and the live vault, under the live masters, or the destroyed ones too."""
        custodians = [self._vault.custody.at(f"file:{self._folder / 'keys'}")]
        if with_destroyed_masters:
            custodians.append(copied_masters(self._folder / "aside", self._folder / "home"))
        with ExitStack() as opened:
            copies: list[Copy] = [opened.enter_context(open_backup(one.folder)) for one in loot]
            copies.append(live_copy(self._vault))
            return attack(self._vault.vault_id, copies, custodians)


@contextmanager
def set_stage() -> Iterator[Stage]:
    """Found a vault in a temporary folder (0700) and serve it; remove everything at the end."""
    with temporary_vault("demo", FIRST_DAY, RETENTION_MONTHS) as founded, ExitStack() as built:
        vault = founded.vault
        node = built.enter_context(Node(vault))
        lines = built.enter_context((founded.folder / "service.log").open("w", encoding="utf-8"))
        address = built.enter_context(background_server(vault, node, log=make_log(lines)))
        client = built.enter_context(httpx2.Client(base_url=address, timeout=30, trust_env=False))
        yield Stage(founded.folder, vault, founded.clock, client, founded.people)


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _first_document(filed: Filed) -> str:
    return f"/v1/records/{filed.record_id}/documents/{next(iter(filed.papers))}"
