"""Orders that time is trusted again, as the tests of clocks need them."""

from datetime import datetime, timedelta

from tests.people import signed
from vault.context import Vault
from vault.ids import OrderId, new_id
from vault.orders import Action, Order, accept_order
from vault.orders.order import spell_instant
from vault.timekeeping import load_marks


def clearing(vault: Vault, *names: str, since: datetime | None = None) -> str:
    """An order to trust the clocks, signed and accepted; its id."""
    with vault.catalogue.read() as tx:
        suspect_since = since or load_marks(tx).suspect_since
    assert suspect_since is not None
    now = vault.clock.now().replace(microsecond=0)
    order = Order(
        id=OrderId(new_id()),
        program=vault.vault_id.hex(),
        action=Action.CLEAR_TIME,
        scope={"suspect_since": spell_instant(suspect_since)},
        reason="The clocks were compared with the observatory's.",
        legal_basis="Records schedule 12",
        not_before=now,
        expires=now + timedelta(days=1),
        cooling_off_hours=None,
    )
    body = order.encode()
    return accept_order(vault, body, [signed(name, body) for name in names]).id
