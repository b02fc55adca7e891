"""An order: what is to be done, to what, why, and when. One canonical JSON document, which people sign.

Everything that the vault does with an order stands in the document. Its id is a random nonce, so that the same
order cannot be used twice, and its scope names exact things: a list by its Merkle root, a hold, a policy's hash.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from vault import canonical
from vault.clocks.clock import in_reach
from vault.errors import NotCanonicalError, OrderRefusedError
from vault.ids import OrderId, is_id

from .actions import Action

__all__ = ["COOLING_OFF_HOURS_MAX", "ORDER_FORMAT", "Order", "instant", "spell_instant"]

ORDER_FORMAT: Final = "shredvault/order/v1"
TEXT_CHARACTERS_MAX: Final = 2000
LIFE_MAX: Final = timedelta(days=90)
"""From its first instant to its last: an order that nobody carried out must be signed again."""
COOLING_OFF_HOURS_MAX: Final = 30 * 24
_INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_HEX32: Final = re.compile(r"[0-9a-f]{64}")
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d")
_MEMBERS: Final = {
    "format",
    "program",
    "action",
    "scope",
    "reason",
    "legal_basis",
    "not_before",
    "expires",
    "cooling_off_hours",
    "nonce",
}


@dataclass(frozen=True, slots=True)
class Order:
    """An order as it is signed."""

    id: OrderId
    program: str
    """Id of the vault it is for, hexadecimal."""
    action: Action
    scope: Mapping[str, Any]
    """What it is about; its members depend on the action."""
    reason: str
    legal_basis: str
    not_before: datetime
    expires: datetime
    cooling_off_hours: int | None
    """How long it waits after it was accepted; None: as long as the policy says."""

    def __post_init__(self) -> None:
        if not is_id(self.id):
            message = "The order's nonce must be an id of 26 characters, as `shredvault order draft` draws it."
            raise OrderRefusedError(message)
        for name, text in (("reason", self.reason), ("legal basis", self.legal_basis)):
            if not 1 <= len(text.strip()) <= TEXT_CHARACTERS_MAX:
                message = f"The order must give its {name}, in 1 to {TEXT_CHARACTERS_MAX} characters."
                raise OrderRefusedError(message)
        if not self.not_before < self.expires <= self.not_before + LIFE_MAX:
            message = f"An order expires after it begins, and within {LIFE_MAX.days} days."
            raise OrderRefusedError(message)
        if self.cooling_off_hours is not None and not 0 <= self.cooling_off_hours <= COOLING_OFF_HOURS_MAX:
            message = f"A cooling-off lasts 0 to {COOLING_OFF_HOURS_MAX} hours."
            raise OrderRefusedError(message)
        if not _SCOPES[self.action](self.scope):
            message = f"The scope of the order is not one of {self.action}."
            raise OrderRefusedError(message)

    def encode(self) -> bytes:
        """The document that people sign."""
        return canonical.encode(
            {
                "format": ORDER_FORMAT,
                "program": self.program,
                "action": self.action,
                "scope": dict(self.scope),
                "reason": self.reason,
                "legal_basis": self.legal_basis,
                "not_before": spell_instant(self.not_before),
                "expires": spell_instant(self.expires),
                "cooling_off_hours": self.cooling_off_hours,
                "nonce": self.id,
            }
        )

    @staticmethod
    def decode(body: bytes) -> Order:
        """Read an order.

        Raises:
            OrderRefusedError: it is not canonical, or no order.
        """
        try:
            content = canonical.decode(body)
        except NotCanonicalError as broken:
            raise OrderRefusedError(str(broken)) from broken
        try:
            if content["format"] != ORDER_FORMAT or set(content) != _MEMBERS:
                raise ValueError  # noqa: TRY301  # one refusal for all that is wrong with it
            texts = (content["nonce"], content["program"], content["reason"], content["legal_basis"])
            hours = content["cooling_off_hours"]
            if not all(isinstance(text, str) for text in texts) or type(hours) not in (int, type(None)):
                raise TypeError  # noqa: TRY301
            return Order(
                id=OrderId(content["nonce"]),
                program=content["program"],
                action=Action(content["action"]),
                scope=_members(content["scope"]),
                reason=content["reason"],
                legal_basis=content["legal_basis"],
                not_before=instant(content["not_before"]),
                expires=instant(content["expires"]),
                cooling_off_hours=hours,
            )
        except (KeyError, TypeError, ValueError, AttributeError) as broken:
            message = "This is no order: a member is missing, unknown or of the wrong type."
            raise OrderRefusedError(message) from broken


def _members(scope: Any) -> dict[str, Any]:
    if not isinstance(scope, dict):
        # Pairs would make one too, of another text than people signed.
        raise TypeError
    return scope


def instant(text: Any) -> datetime:
    """Read an instant of a document: `2026-11-27T15:00:00Z`.

    Raises:
        ValueError, TypeError: it is none.
    """
    if not _INSTANT.fullmatch(text):
        message = "not an instant in UTC"
        raise ValueError(message)
    at = datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    if not in_reach(at):
        message = "not an instant that can be reckoned with"
        raise ValueError(message)
    return at


def spell_instant(at: datetime) -> str:
    """An instant as a document has it, to the second."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _of_list(scope: Mapping[str, Any]) -> bool:
    """{list, root, count}: a frozen list, which cannot be another one."""
    return (
        set(scope) == {"list", "root", "count"}
        and is_id(scope["list"])
        and _HEX32.fullmatch(scope["root"]) is not None
        and type(scope["count"]) is int
        and scope["count"] >= 0
    )


def _of_release(scope: Mapping[str, Any]) -> bool:
    """{hold, change, releasing_act, stay}: which hold, what becomes of it, by which act, and which stay is on.

    A stay is {what, until}: its last day. While it runs the order has no effect.
    """
    return (
        set(scope) == {"hold", "change", "releasing_act", "stay"}
        and is_id(scope["hold"])
        and isinstance(scope["change"], dict)
        and _is_text(scope["releasing_act"])
        and (scope["stay"] is None or _is_stay(scope["stay"]))
    )


def _is_stay(stay: Any) -> bool:
    until = stay["until"]
    spelt = _DATE.fullmatch(until) is not None and in_reach(date.fromisoformat(until))
    return set(stay) == {"what", "until"} and _is_text(stay["what"]) and spelt


def _of_decision(scope: Mapping[str, Any]) -> bool:
    """{deadline, …}: the sunset that is decided about; `vault.sunset` reads the rest."""
    return "deadline" in scope and _DATE.fullmatch(scope["deadline"]) is not None


def _of_time(scope: Mapping[str, Any]) -> bool:
    """{suspect_since}: which suspicion is cleared."""
    return set(scope) == {"suspect_since"} and instant(scope["suspect_since"]).tzinfo is UTC


def _of_policy(scope: Mapping[str, Any]) -> bool:
    """{policy_sha256, version}: which document comes into force."""
    return (
        set(scope) == {"policy_sha256", "version"}
        and _HEX32.fullmatch(scope["policy_sha256"]) is not None
        and type(scope["version"]) is int
    )


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and 1 <= len(value.strip()) <= TEXT_CHARACTERS_MAX


_SCOPES: Final = {
    Action.SCRUB: _of_list,
    Action.DESTROY: _of_list,
    Action.RELEASE: _of_release,
    Action.PRESERVE: _of_decision,
    Action.DESTROY_AT_SUNSET: _of_decision,
    Action.PARTIAL: _of_decision,
    Action.CLEAR_TIME: _of_time,
    Action.ADOPT_POLICY: _of_policy,
}
