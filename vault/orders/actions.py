"""What an order can order, and who must have signed it: the table of docs/spec/order.md, and one pure question."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final

from vault.law.people import Person, Role

__all__ = ["DECIDERS", "QUORUMS", "STANDING", "Action", "Place", "missing_places", "spoken"]


class Action(StrEnum):
    """What an order can order."""

    SCRUB = "scrub"
    """Destroy everything that is on the list and not held."""
    DESTROY = "destroy"
    """Destroy named records: a mis-scan, an unlawful capture, an accepted erasure."""
    RELEASE = "release"
    """Narrow, shorten, end or release a hold (H3)."""
    PRESERVE = "preserve"
    """Sunset: keep what would be destroyed at the deadline, until a date (S2)."""
    DESTROY_AT_SUNSET = "destroy-at-sunset"
    """Sunset: destroy at the deadline (S2)."""
    PARTIAL = "partial"
    """Sunset: keep some filing periods and destroy the others (S2)."""
    CLEAR_TIME = "clear-time"
    """Trust the clock again after it was SUSPECT (T5)."""
    ADOPT_POLICY = "adopt-policy"
    """Put a new version of the policy in force (P1)."""


Place = frozenset[Role]
"""One place of a quorum: the roles of which the person who fills it has at least one."""

_HEAD: Final = frozenset({Role.AGENCY_HEAD})
_COUNSEL: Final = frozenset({Role.COUNSEL})
_AUTHORITY: Final = frozenset({Role.RECORDS_AUTHORITY})
_OFFICER: Final = frozenset({Role.RECORDS_OFFICER})
DECIDERS: Final[Place] = _HEAD | _COUNSEL | _AUTHORITY
"""Whoever may decide about the end of the program."""

STANDING: Final[tuple[Place, ...]] = (_AUTHORITY, _COUNSEL, _HEAD)
"""Whose approval a policy carries before anything is swept under it."""

QUORUMS: Final[Mapping[Action, tuple[Place, ...]]] = {
    Action.SCRUB: (_HEAD, _COUNSEL, _AUTHORITY),
    Action.DESTROY: (_OFFICER, DECIDERS, DECIDERS),
    Action.RELEASE: (_COUNSEL, _OFFICER | _HEAD),
    Action.PRESERVE: (DECIDERS, DECIDERS),
    Action.DESTROY_AT_SUNSET: (DECIDERS, DECIDERS),
    Action.PARTIAL: (DECIDERS, DECIDERS),
    Action.CLEAR_TIME: (_OFFICER, frozenset({Role.AUDITOR})),
    Action.ADOPT_POLICY: STANDING,
}


def missing_places(places: tuple[Place, ...], names: Iterable[str], people: Iterable[Person]) -> list[Place]:
    """Which places nobody of `names` fills, when each person fills one place at most. Empty: the quorum is met.

    A person with several roles is put where they are needed, not where they fit first (augmenting paths).
    """
    approving = set(names)
    fitting = {person.name: person.roles for person in people if person.name in approving}
    filled: dict[int, str] = {}

    def place(name: str, tried: set[int]) -> bool:
        for number, roles in enumerate(places):
            if number not in tried and fitting[name] & roles:
                tried.add(number)
                if number not in filled or place(filled[number], tried):
                    filled[number] = name
                    return True
        return False

    for name in sorted(fitting):
        place(name, set())
    return [roles for number, roles in enumerate(places) if number not in filled]


def spoken(places: Iterable[Place]) -> str:
    """Places as part of a sentence: `counsel, and records-officer or agency-head`, or `a, b and c`."""
    said = [" or ".join(sorted(place)) for place in places]
    if any(" or " in one for one in said) or len(said) == 1:
        return ", and ".join(said)
    return f"{', '.join(said[:-1])} and {said[-1]}"
