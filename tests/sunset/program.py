"""A program that ends: a sunset adopted under an order, decisions about it, and what the world shows of it."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from tests.people import APPROVERS, founding_policy, signed
from tests.vault.world import PURPOSE, World
from vault.errors import SealedOffError
from vault.ids import OrderId, new_id
from vault.law.policy import Policy, Sunset
from vault.orders import Accepted, Action, Order, accept_order, adopt_policy
from vault.records.retrieval import read_record

# Worlds begin on January 5 2026.
SUNSET = Sunset(date(2026, 1, 2), date(2026, 2, 20), date(2026, 3, 8), "DESTROY", {"program": True})
DEADLINE = {"deadline": "2026-03-08"}
# The clocks in New York go forward on that day.
OVER = datetime(2026, 3, 9, 4, tzinfo=UTC)


def to(world: World, instant: datetime) -> None:
    world.clock.advance(instant - world.clock.now())


def ordered(world: World, action: Action, scope: dict[str, Any], *names: str) -> Accepted:
    now = world.clock.now().replace(microsecond=0)
    order = Order(
        id=OrderId(new_id()),
        program=world.vault.vault_id.hex(),
        action=action,
        scope=scope,
        reason="As the council decided.",
        legal_basis="Administrative Code 3-115",
        not_before=now,
        expires=now + timedelta(days=80),
        cooling_off_hours=0,
    )
    body = order.encode()
    return accept_order(world.vault, body, [signed(name, body) for name in names])


def end_program(world: World, **changes: Any) -> None:
    policy = replace(Policy.decode(founding_policy()), version=2, sunset=SUNSET, **changes)
    order = ordered(world, Action.ADOPT_POLICY, {"policy_sha256": policy.sha256, "version": 2}, *APPROVERS)
    adopt_policy(world.vault, order.id, policy.encode())


def events(world: World, like: str) -> list[Any]:
    return [row[0] for row in world.rows(f"SELECT event FROM journal WHERE event LIKE '{like}' ORDER BY id")]


def sealed_off(world: World, record_id: str) -> bool:
    try:
        read_record(world.vault, world.reviewer, record_id, PURPOSE)
    except SealedOffError:
        return True
    return False
