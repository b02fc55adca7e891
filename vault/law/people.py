"""Who may approve what: persons with roles, and the OpenSSH keys that speak for them.

A person has roles and principals; the allowed-signers file says which keys speak for a principal. Principal and key
belong to exactly one person each, so that nobody can fill two places with two keys, or with one key under two names.
"""

from __future__ import annotations

import re
import unicodedata
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from vault.errors import PolicyError

__all__ = ["Person", "Role", "check_signers", "person_of"]

PEOPLE_MAX: Final = 200
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,59}")
_PRINCIPAL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}")
_KINDS: Final = (
    "ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(?:256|384|521)|sk-(?:ssh-ed25519|ecdsa-sha2-nistp256)@openssh\\.com"
)
_ONE_OPTION: Final = r'[A-Za-z-]+(?:="[^"\\]*")?'
_LINE: Final = re.compile(
    rf"(?P<principals>[^ ]+)(?: (?P<options>{_ONE_OPTION}(?:,{_ONE_OPTION})*))?"
    rf" (?P<kind>{_KINDS}) (?P<key>[A-Za-z0-9+/]{{40,}}={{0,2}})(?: .*)?"
)
_OPTION: Final = re.compile(r'(?P<name>[A-Za-z-]+)(?:="(?P<value>[^"\\]*)")?')
_TIME: Final = re.compile(r"[0-9]{8}(?:[0-9]{4}(?:[0-9]{2})?)?Z")
_VALUES: Final = {"namespaces": re.compile(r"[!-~]+"), "valid-after": _TIME, "valid-before": _TIME}


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
    owner: dict[tuple[bytes, ...], str] = {}
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


def _signers(allowed_signers: str) -> Iterator[tuple[list[str], tuple[bytes, ...]]]:
    """(principals, key) of each line, read as OpenSSH reads it, and refused where two could read it in two ways."""
    for line in allowed_signers.split("\n"):
        text = line.strip(" ")
        if any(unicodedata.category(character) in ("Cc", "Zl", "Zp") for character in text):
            # OpenSSH ends a line at a line feed alone, and takes a tab for a blank.
            message = "The allowed-signers file has control characters, such as tabs or carriage returns, in it."
            raise PolicyError(message)
        if not text or text.startswith("#"):
            continue
        found = _LINE.fullmatch(text)
        principals = found["principals"].split(",") if found else []
        key = _key_of(found["kind"], found["key"]) if found else None
        if found is None or key is None or not all(_PRINCIPAL.fullmatch(one) for one in principals):
            message = (
                "A line of the allowed-signers file is not: principals, options, key; one blank between them, without "
                "patterns, certificates, or quotes but around an option's value."
            )
            raise PolicyError(message)
        _check_options(found["options"])
        yield principals, key


def _check_options(options: str | None) -> None:
    """Options are what sshd's manual says, in small or capital letters; each once, and none that lets others speak."""
    seen: set[str] = set()
    for option in _OPTION.finditer(options or ""):
        name, value = option["name"].lower(), option["value"]
        if name == "cert-authority":
            message = "The allowed-signers file names a certificate authority; name each person's own key instead."
            raise PolicyError(message)
        if name in seen or name not in _VALUES or _VALUES[name].fullmatch(value or "") is None:
            message = (
                'Options in the allowed-signers file are namespaces="…", valid-after="…Z" and valid-before="…Z", each '
                "once; a time is YYYYMMDD or YYYYMMDDHHMM[SS] with a Z: without, each machine reads it in its own zone."
            )
            raise PolicyError(message)
        seen.add(name)


def _key_of(kind: str, text: str) -> tuple[bytes, ...] | None:
    """The fields of a public key, without leading zeros, which OpenSSH passes over; None where it is none."""
    try:
        blob = b64decode(text, validate=True)
    except ValueError:
        return None
    fields: list[bytes] = []
    rest = blob
    while rest:
        length = int.from_bytes(rest[:4], "big")
        if len(rest) < 4 + length:
            return None
        fields.append(rest[4 : 4 + length].lstrip(b"\0"))
        rest = rest[4 + length :]
    written_so = b64encode(blob).decode() == text
    return tuple(fields) if written_so and fields and fields[0] == kind.encode() else None
