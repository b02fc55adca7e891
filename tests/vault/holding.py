"""Holds as most tests need them: on named records, without a tail, released by an order that takes effect at once."""

from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import timedelta
from typing import Any

from tests.people import APPROVERS, COUNSEL, OFFICER, key_of, staffed
from vault import holds
from vault.catalogue.destructions import Destruction
from vault.context import Vault, current_policy
from vault.destruction import releasing
from vault.holds import Kind, Placed, Scope, Terms
from vault.ids import OrderId, new_id
from vault.orders import Accepted, Action, Order, accept_order, adopt_policy

AUTHORITY = "City Comptroller"


def place_hold(vault: Vault, record_ids: Collection[str], docket: str) -> Placed:
    return holds.place_hold(vault, Terms(Kind.AUDIT, AUTHORITY, docket), Scope(tuple(record_ids)), "counsel")


def release_order(
    vault: Vault,
    hold_id: str,
    change: dict[str, Any] | None = None,
    *,
    signers: tuple[str, ...] = (COUNSEL, OFFICER),
    cooling_off_hours: int | None = 0,
    stay: dict[str, str] | None = None,
) -> Accepted:
    """An order to change a hold, handed in; where nobody stands in the policy, the people of these tests do first."""
    with vault.catalogue.read() as tx:
        staffed_already = bool(current_policy(tx).people)
    if not staffed_already:
        adopt(vault)
    now = vault.clock.now().replace(microsecond=0)
    order = Order(
        id=OrderId(new_id()),
        program=vault.vault_id.hex(),
        action=Action.RELEASE,
        scope=releasing.release_scope(
            vault, hold_id, change or {"do": "release"}, "stipulation of discontinuance", stay
        ),
        reason="The matter has ended.",
        legal_basis="stipulation",
        not_before=now,
        expires=now + timedelta(days=14),
        cooling_off_hours=cooling_off_hours,
    )
    body = order.encode()
    return accept_order(vault, body, [key_of(name).sign(body) for name in signers])


def release_hold(
    vault: Vault, hold_id: str, _who: str = "counsel", progress: Callable[[str], None] = lambda _: None
) -> Destruction:
    """Release a hold whole; what was observed of its key copies."""
    return releasing.release_hold(vault, hold_id, release_order(vault, hold_id).id, progress).destructions[0]


def adopt(vault: Vault, **changes: Any) -> None:
    """Put the next version of the policy in force, with the people of these tests and with changes."""
    with vault.catalogue.read() as tx:
        before = current_policy(tx)
    policy = replace(staffed(before), version=before.version + 1, **changes)
    now = vault.clock.now().replace(microsecond=0)
    order = Order(
        id=OrderId(new_id()),
        program=vault.vault_id.hex(),
        action=Action.ADOPT_POLICY,
        scope={"policy_sha256": policy.sha256, "version": policy.version},
        reason="People change.",
        legal_basis="charter",
        not_before=now,
        expires=now + timedelta(days=14),
        cooling_off_hours=0,
    )
    body = order.encode()
    signatures = [key_of(name).sign(body) for name in APPROVERS]
    adopt_policy(vault, accept_order(vault, body, signatures, document=policy.encode()).id, policy.encode())
