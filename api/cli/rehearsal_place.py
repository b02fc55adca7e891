"""Where `shredvault rehearse` plays: a vault in a temporary folder with its own object store, and made-up papers.

Everything is real but the calendar, the people and the papers.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

from vault.access import Caller, Role, authenticate, create_token
from vault.adversary import attack, copied_masters, live_copy, open_backup, seize
from vault.clocks.clock import SimulatedClock
from vault.context import Vault
from vault.records.filing import complete_record, open_record
from vault.records.uploads import begin_upload

from .demo_people import DemoPeople
from .rehearsal_story import FIRST_DAY, RETENTION_MONTHS, SUNSET
from .temporary import temporary_vault

__all__ = ["TemporaryPlace", "set_place"]

_PAPER_BYTES: Final = 2048
_PNG: Final = (b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82")


@dataclass(frozen=True, slots=True)
class TemporaryPlace:
    """See `rehearsal_story.Place`."""

    folder: Path
    vault: Vault
    clock: SimulatedClock
    people: DemoPeople
    center: Caller

    def file(self, count: int) -> date:
        """File so many records, each with one paper; return the day on which they fall due."""
        return [self._file_one() for _ in range(count)][-1]

    def _file_one(self) -> date:
        key = secrets.token_hex(16)
        opened = open_record(
            self.vault, self.center, idempotency_key=key, applicant={"name": f"Person {key}"}, body=key.encode()
        )
        head, end = _PNG
        paper = head + secrets.token_bytes(_PAPER_BYTES) + end
        sending = begin_upload(
            self.vault, self.center, opened.record_id, "card.png", declared_size=len(paper), declared_type=None
        )
        try:
            sending.add(paper)
            sending.finish()
        finally:
            sending.abort()
        return complete_record(self.vault, self.center, opened.record_id).due_on

    def steal(self) -> None:
        """Copy home, object store and, apart from them, the living master keys."""
        seize(self.vault, self.folder / "home", self.folder / "objects", self.folder / "stolen")
        shutil.copytree(self.folder / "keys", self.folder / "aside")

    def opened(self, *, with_dead_masters: bool) -> int:
        """How many records open for whoever has the copy, the live vault, and the living or also the dead masters."""
        custodians = [self.vault.custody.at(f"file:{self.folder / 'keys'}")]
        if with_dead_masters:
            custodians.append(copied_masters(self.folder / "aside", self.folder / "home"))
        with open_backup(self.folder / "stolen") as copy:
            return len(attack(self.vault.vault_id, [copy, live_copy(self.vault)], custodians).opened_records)


@contextmanager
def set_place() -> Iterator[TemporaryPlace]:
    """Found a vault in a temporary folder (0700); remove everything at the end."""
    with temporary_vault("rehearsal", FIRST_DAY, RETENTION_MONTHS, SUNSET) as founded:
        center = authenticate(founded.vault, create_token(founded.vault, Role.CENTER, "Rehearsing center"))
        yield TemporaryPlace(founded.folder, founded.vault, founded.clock, founded.people, center)
