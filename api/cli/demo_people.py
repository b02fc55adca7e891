"""The three people who approve things in the demo, with keys of their own that last as long as the demo."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from vault.orders.signatures import make_key, sign_file
from vault.people import Person, Role
from vault.policy import Policy

__all__ = ["DemoPeople"]

_PEOPLE: Final = {
    "the.commissioner": Role.AGENCY_HEAD,
    "the.counsel": Role.COUNSEL,
    "the.archivist": Role.RECORDS_AUTHORITY,
}


class DemoPeople:
    """Three people with three keys."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700)
        self._folder = folder
        self._public = {name: make_key(folder / name) for name in _PEOPLE}
        self._signed = 0

    def policy(self, retention_months: int) -> bytes:
        """The first policy, in which these three stand."""
        people = tuple(Person(name, frozenset({role}), frozenset({name})) for name, role in _PEOPLE.items())
        signers = "".join(f"{name} {key}\n" for name, key in self._public.items())
        return Policy(1, "America/New_York", retention_months, people=people, allowed_signers=signers).encode()

    def sign(self, body: bytes, namespace: str) -> list[bytes]:
        """Have all three sign a document."""
        signatures = []
        for name in _PEOPLE:
            self._signed += 1
            path = self._folder / f"document-{self._signed}"
            path.write_bytes(body)
            signatures.append(sign_file(path, self._folder / name, namespace, quiet=True).read_bytes())
        return signatures
