"""Who may approve what: persons with roles, and the OpenSSH keys that speak for them.

A person has roles and principals; the allowed-signers file says which keys speak for a principal. Principal and key
belong to exactly one person each, so that nobody can fill two places with two keys, or with one key under two names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from vault.errors import PolicyError

__all__ = ["Person", "Role", "check_signers", "person_of"]

PEOPLE_MAX: Final = 200
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,59}")
_PRINCIPAL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}")
_KEY: Final = re.compile(r"(?:^|\s)((?:sk-)?(?:ssh|ecdsa)-[a-z0-9@.-]+)\s+([A-Za-z0-9+/]{40,}={0,2})(?:\s|$)")


class Role(StrEnum):
    """What a person may do in the law of the program."""

    AGENCY_HEAD = "agency-head"
    COUNSEL = "counsel"
    RECORDS_AUTHORITY = "records-authority"
    RECORDS_OFFICER = "records-officer"
    AUDITOR = "auditor"


@dataclass(frozen=True, slots=True)
class Person:
    """One person, whatever roles and keys they have."""

    name: str
    roles: frozenset[Role]
    principals: frozenset[str]

    @classmethod
    def decode(cls, entry: Any) -> Person:
        """Read an entry of a policy's `people`.

        Raises:
            PolicyError: it is none.
        """
        try:
            if set(entry) != {"person", "roles", "principals"}:
                raise TypeError  # noqa: TRY301  # one refusal for all that is wrong with it
            name, principals = entry["person"], list(entry["principals"])
            roles = frozenset(Role(role) for role in entry["roles"])
            if not _NAME.fullmatch(name) or not all(_PRINCIPAL.fullmatch(one) for one in principals):
                raise ValueError  # noqa: TRY301
        except (TypeError, ValueError) as wrong:
            message = (
                "Each of the policy's people is {person, roles, principals}: a short name in small letters, roles of "
                f"{', '.join(Role)}, and principals of the allowed-signers file."
            )
            raise PolicyError(message) from wrong
        if not roles or not principals:
            message = f"{name} has no role or no principal."
            raise PolicyError(message)
        return cls(name, roles, frozenset(principals))

    def encode(self) -> dict[str, Any]:
        """The entry in a policy's `people`."""
        return {"person": self.name, "principals": sorted(self.principals), "roles": sorted(self.roles)}


def person_of(principal: str, people: Sequence[Person]) -> Person | None:
    """Whose principal this is."""
    return next((person for person in people if principal in person.principals), None)


def check_signers(people: Sequence[Person], allowed_signers: str) -> None:
    """Make sure that every name, principal and key belongs to exactly one person.

    Raises:
        PolicyError: it does not, or a line of the allowed-signers file can speak for whom it does not name.
    """
    if len(people) > PEOPLE_MAX:
        message = f"A policy names at most {PEOPLE_MAX} people."
        raise PolicyError(message)
    if len({person.name for person in people}) != len(people):
        message = "A person stands twice among the policy's people."
        raise PolicyError(message)
    if len(frozenset[str]().union(*(p.principals for p in people))) != sum(len(p.principals) for p in people):
        message = "A principal belongs to two of the policy's people; each belongs to one."
        raise PolicyError(message)
    owner: dict[str, str] = {}
    for principals, key in _signers(allowed_signers):
        persons = {person_of(principal, people) for principal in principals}
        named = {person.name for person in persons if person is not None}
        if len(named) != 1 or None in persons:
            message = (
                "Each line of the allowed-signers file must name principals of exactly one of the policy's people."
            )
            raise PolicyError(message)
        name = named.pop()
        if owner.setdefault(key, name) != name:
            message = f"{name} and {owner[key]} have the same key in the allowed-signers file."
            raise PolicyError(message)


def _signers(allowed_signers: str) -> Iterator[tuple[list[str], str]]:
    """(principals, key) of each line."""
    for line in allowed_signers.splitlines():
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        first, _, rest = text.partition(" ")
        principals = first.split(",")
        found = _KEY.search(rest)
        if found is None or not all(_PRINCIPAL.fullmatch(one) for one in principals):
            message = "A line of the allowed-signers file is not: principals, options, key; without patterns or quotes."
            raise PolicyError(message)
        if "cert-authority" in rest[: found.start(1)]:
            message = "The allowed-signers file names a certificate authority; name each person's own key instead."
            raise PolicyError(message)
        yield principals, found.group(2)
