"""The three people who approve things in the demo and in a rehearsal, with keys that last as long as these do."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from vault.law.people import Person, Role
from vault.law.policy import Policy, Sunset
from vault.orders.signatures import make_key, sign_file

__all__ = ["ARCHIVIST", "COMMISSIONER", "COUNSEL", "DemoPeople"]

COMMISSIONER, COUNSEL, ARCHIVIST = "the.commissioner", "the.counsel", "the.archivist"
_PEOPLE: Final = {
    COMMISSIONER: Role.AGENCY_HEAD,
    COUNSEL: Role.COUNSEL,
    ARCHIVIST: Role.RECORDS_AUTHORITY,
}


class DemoPeople:
    """Three people with three keys."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700)
        self._folder = folder
        self._public = {name: make_key(folder / name) for name in _PEOPLE}
        self._signed = 0

    def policy(self, retention_months: int, sunset: Sunset | None = None) -> bytes:
        """The first policy, in which these three stand."""
        people = tuple(Person(name, frozenset({role}), frozenset({name})) for name, role in _PEOPLE.items())
        signers = "".join(f"{name} {key}\n" for name, key in self._public.items())
        policy = Policy(1, "America/New_York", retention_months, people=people, allowed_signers=signers, sunset=sunset)
        return policy.encode()

    def sign(self, body: bytes, namespace: str, *names: str) -> list[bytes]:
        """Have some of them sign a document, or all three."""
        signatures = []
        for name in names or _PEOPLE:
            self._signed += 1
            path = self._folder / f"document-{self._signed}"
            path.write_bytes(body)
            signatures.append(sign_file(path, self._folder / name, namespace, quiet=True).read_bytes())
        return signatures
