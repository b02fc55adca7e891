"""The retention policy: one canonical document with versions (P1), and the arithmetic of due dates (T2, T3).

A policy says how long records are kept, by when they must be gone, who approves what, and with which keys. It is
stored whole, as it was signed; `vault.orders.adopting` says how one comes into force (P2).
"""

from __future__ import annotations

import base64
import calendar
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from vault import canonical
from vault.clocks.clock import in_reach
from vault.errors import NotCanonicalError, PolicyError

from .people import Person, check_signers

__all__ = ["PERIODS_MAX", "POLICY_FORMAT", "GoneBy", "Mode", "Policy", "Sunset", "due_on"]

POLICY_FORMAT: Final = "shredvault/policy/v1"
MONTHS_LIMIT: Final = 120
HOURS_LIMIT: Final = 30 * 24
TAIL_DAYS_LIMIT: Final = 3650
PROGRAM_CHARACTERS_MAX: Final = 100
PERIODS_MAX: Final = 100
"""Filing periods that a sunset is about, or that a decision about it keeps."""
_X25519_BYTES: Final = 32


class Mode(StrEnum):
    """Whether documents are kept at all (P3)."""

    RETAIN = "retain"
    NO_RETAIN = "no-retain"


@dataclass(frozen=True, slots=True)
class GoneBy:
    """By when a due record must be gone: the end of the quarter, and so many months after due at the latest."""

    end_of_quarter: bool = True
    months_after_due: int = 6


@dataclass(frozen=True, slots=True)
class Sunset:
    """The date on which everything is destroyed unless somebody decides to keep it (S1)."""

    review_opens: date
    decision_cut_off: date
    deadline: date
    default: str
    scope: Mapping[str, Any]
    """`{"program": true}`, or `{"filed": [[date, date], …]}`: what was completed in these periods, both included."""

    @property
    def filed(self) -> tuple[tuple[date, date], ...]:
        """The filing periods that it covers; none: the whole program."""
        periods = self.scope.get("filed", ())
        return tuple((date.fromisoformat(first), date.fromisoformat(last)) for first, last in periods)


@dataclass(frozen=True, slots=True)
class Policy:
    """One version of the policy (P1). A record keeps the version it was filed under."""

    version: int
    time_zone: str
    """The one zone in which legal dates are civil dates (T1)."""
    retention_months: int = 24
    abandon_after_hours: int = 72
    """A record that was opened and never completed is swept after this many hours."""
    program: str = "Municipal ID"
    """The program's name, for people."""
    floor_months: int = 0
    """Shortest retention that the law allows; 0 where it names none."""
    gone_by: GoneBy = field(default_factory=GoneBy)
    mode: Mode = Mode.RETAIN
    hold_tail_days: Mapping[str, int] = field(default_factory=dict)
    """For each kind of hold, how many days it protects after its release."""
    cooling_off_hours: Mapping[str, int] = field(default_factory=lambda: {"scrub": 48, "release": 72})
    """For each action, how long an accepted order waits, where the order itself does not say."""
    people: tuple[Person, ...] = ()
    allowed_signers: str = ""
    """An OpenSSH allowed-signers file."""
    revoked_keys: str = ""
    """Public keys, one a line, that sign nothing any more: for `ssh-keygen -Y verify -r`."""
    counsel_seal: str | None = None
    """Counsel's X25519 public key in base64, to which sealed holds are sealed."""
    sunset: Sunset | None = None

    def __post_init__(self) -> None:
        if self.version < 1:
            message = "Versions of a policy are counted from 1."
            raise PolicyError(message)
        if not 1 <= self.retention_months <= MONTHS_LIMIT:
            message = f"The retention must be 1 to {MONTHS_LIMIT} months."
            raise PolicyError(message)
        _check_floor(self)
        if not 1 <= self.abandon_after_hours <= HOURS_LIMIT:
            message = f"Unfinished records must be given up after 1 to {HOURS_LIMIT} hours."
            raise PolicyError(message)
        if not 1 <= self.gone_by.months_after_due <= MONTHS_LIMIT:
            message = f"Due records must be gone 1 to {MONTHS_LIMIT} months after they are due."
            raise PolicyError(message)
        if not 1 <= len(self.program) <= PROGRAM_CHARACTERS_MAX:
            message = f"The program's name has 1 to {PROGRAM_CHARACTERS_MAX} characters."
            raise PolicyError(message)
        if any(not 0 <= hours <= HOURS_LIMIT for hours in self.cooling_off_hours.values()):
            message = f"A cooling-off lasts 0 to {HOURS_LIMIT} hours."
            raise PolicyError(message)
        if any(not 0 <= days <= TAIL_DAYS_LIMIT for days in self.hold_tail_days.values()):
            message = f"The tail of a hold lasts 0 to {TAIL_DAYS_LIMIT} days."
            raise PolicyError(message)
        try:
            ZoneInfo(self.time_zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as unknown:
            message = f"There is no time zone named {self.time_zone!r}; an example is America/New_York."
            raise PolicyError(message) from unknown
        check_signers(self.people, self.allowed_signers)
        _check_seal(self.counsel_seal)
        _check_sunset(self.sunset)

    @property
    def zone(self) -> ZoneInfo:
        """The program's time zone."""
        return ZoneInfo(self.time_zone)

    @property
    def sha256(self) -> str:
        """What an order to adopt this policy names, hexadecimal."""
        return hashlib.sha256(self.encode()).hexdigest()

    def encode(self) -> bytes:
        """The policy as its one canonical document."""
        return canonical.encode(
            {
                "format": POLICY_FORMAT,
                "program": self.program,
                "version": self.version,
                "time_zone": self.time_zone,
                "retention_months": self.retention_months,
                "floor_months": self.floor_months,
                "gone_by": {
                    "end_of_quarter": self.gone_by.end_of_quarter,
                    "months_after_due": self.gone_by.months_after_due,
                },
                "abandon_after_hours": self.abandon_after_hours,
                "mode": self.mode,
                "hold_tail_days": dict(self.hold_tail_days),
                "cooling_off_hours": dict(self.cooling_off_hours),
                "people": [person.encode() for person in sorted(self.people, key=lambda person: person.name)],
                "allowed_signers": self.allowed_signers,
                "revoked_keys": self.revoked_keys,
                "counsel_seal": self.counsel_seal,
                "sunset": _encoded_sunset(self.sunset),
            }
        )

    @staticmethod
    def decode(document: bytes) -> Policy:
        """Read a policy's document.

        Raises:
            PolicyError: it is not canonical, not a policy, or contradicts itself.
        """
        return _decoded(document)


@lru_cache(maxsize=16)
def _decoded(document: bytes) -> Policy:
    try:
        content = canonical.decode(document)
    except NotCanonicalError as broken:
        message = f"This is no policy. {broken}"
        raise PolicyError(message) from broken
    try:
        if content.pop("format") != POLICY_FORMAT:
            raise ValueError  # noqa: TRY301  # one refusal for all that is wrong with it
        made = Policy(
            version=_whole(content.pop("version")),
            time_zone=_text(content.pop("time_zone")),
            retention_months=_whole(content.pop("retention_months")),
            abandon_after_hours=_whole(content.pop("abandon_after_hours")),
            program=_text(content.pop("program")),
            floor_months=_whole(content.pop("floor_months")),
            gone_by=_gone_by(content.pop("gone_by")),
            mode=Mode(content.pop("mode")),
            hold_tail_days={_text(k): _whole(v) for k, v in content.pop("hold_tail_days").items()},
            cooling_off_hours={_text(k): _whole(v) for k, v in content.pop("cooling_off_hours").items()},
            people=tuple(Person.decode(entry) for entry in content.pop("people")),
            allowed_signers=_text(content.pop("allowed_signers")),
            revoked_keys=_text(content.pop("revoked_keys")),
            counsel_seal=content.pop("counsel_seal"),
            sunset=_decoded_sunset(content.pop("sunset")),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as broken:
        message = "This is no policy: a member is missing or of the wrong type; `shredvault policy draft` writes one."
        raise PolicyError(message) from broken
    if content or made.encode() != document:
        message = "This is no policy of this version: it has members that are not known here, or people out of order."
        raise PolicyError(message)
    return made


def _whole(value: Any) -> int:
    if type(value) is not int:
        message = "not a whole number"
        raise TypeError(message)
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        message = "not a text"
        raise TypeError(message)
    return value


def _gone_by(content: dict[str, Any]) -> GoneBy:
    if set(content) != {"end_of_quarter", "months_after_due"} or type(content["end_of_quarter"]) is not bool:
        message = "not a day by which something must be gone"
        raise TypeError(message)
    return GoneBy(content["end_of_quarter"], _whole(content["months_after_due"]))


def _encoded_sunset(sunset: Sunset | None) -> dict[str, Any] | None:
    if sunset is None:
        return None
    return {
        "review_opens": sunset.review_opens.isoformat(),
        "decision_cut_off": sunset.decision_cut_off.isoformat(),
        "deadline": sunset.deadline.isoformat(),
        "default": sunset.default,
        "scope": dict(sunset.scope),
    }


def _decoded_sunset(content: dict[str, Any] | None) -> Sunset | None:
    if content is None:
        return None
    dates = {name: date.fromisoformat(content[name]) for name in ("review_opens", "decision_cut_off", "deadline")}
    return Sunset(**dates, default=content["default"], scope=content["scope"])


def _check_sunset(sunset: Sunset | None) -> None:
    if sunset is None:
        return
    if not sunset.review_opens < sunset.decision_cut_off < sunset.deadline:
        message = "The sunset's review opens before its decisions are cut off, and that before its deadline."
        raise PolicyError(message)
    if sunset.default != "DESTROY":
        message = "The default of a sunset is DESTROY."
        raise PolicyError(message)
    try:
        periods = sunset.filed
        known = dict(sunset.scope) == {"program": True} or (set(sunset.scope) == {"filed"} and periods)
    except (AttributeError, TypeError, ValueError):
        periods, known = (), False
    days = (sunset.review_opens, sunset.deadline, *(day for period in periods for day in period))
    if not all(in_reach(day) for day in days):
        message = "The dates of a sunset go from 1970 to 8999."
        raise PolicyError(message)
    if not known or len(periods) > PERIODS_MAX or any(first > last for first, last in periods):
        message = (
            'The scope of a sunset is {"program": true}, or {"filed": [[from, to]]} with 1 to '
            f"{PERIODS_MAX} filing periods as pairs of dates."
        )
        raise PolicyError(message)


def _check_floor(policy: Policy) -> None:
    """P1: nothing can be filed under a policy that contradicts itself."""
    floor = policy.floor_months
    if not 0 <= floor <= MONTHS_LIMIT or floor > policy.retention_months:
        message = f"The floor of {floor} months is above the retention of {policy.retention_months}."
        raise PolicyError(message)
    if policy.mode is Mode.NO_RETAIN and floor:
        message = f"The mode no-retain keeps records for 30 days at the most, and the floor is {floor} months."
        raise PolicyError(message)


def _check_seal(seal: str | None) -> None:
    if seal is None:
        return
    try:
        key = base64.b64decode(seal, validate=True)
    except (TypeError, ValueError) as broken:
        message = "Counsel's seal must be an X25519 public key in base64; `shredvault hold keygen` makes one."
        raise PolicyError(message) from broken
    if len(key) != _X25519_BYTES:
        message = f"Counsel's seal must have {_X25519_BYTES} bytes, an X25519 public key."
        raise PolicyError(message)


def due_on(completed: date, months: int) -> date:
    """The first day on which a record may be swept: `months` calendar months later, clamped, plus one day (T3).

    Completed on Feb 29 2016, 24 months: due on Mar 1 2018. Never 730 days.
    """
    year, month0 = divmod(completed.year * 12 + completed.month - 1 + months, 12)
    last = calendar.monthrange(year, month0 + 1)[1]
    return date(year, month0 + 1, min(completed.day, last)) + timedelta(days=1)
