"""Policies and orders are in the ledger, so a catalogue that is made again has them: none counts twice (H12)."""

import json
from dataclasses import replace
from typing import Any

import pytest

from tests.orders.test_destroying_under_orders import adopt, is_open, ordered_scrub
from tests.people import HEAD
from tests.recovery.test_rebuilding import close_catalogues, rebuilt
from tests.vault.databases import Databases, on_sqlite
from tests.vault.world import World
from vault.destruction.carrying_out import carry_out
from vault.destruction.frozen_lists import freeze_ordered, freeze_sweep
from vault.errors import OrderRefusedError
from vault.orders import load_order

__all__ = ["close_catalogues"]


def policies_of(world: World) -> list[Any]:
    rows = world.rows("SELECT version, document, approvals, order_id FROM policies")
    return [(row.version, row.document, json.loads(row.approvals), row.order_id) for row in rows]


@on_sqlite
def test_a_rebuild_brings_back_orders_policies_and_earlier_due_dates(quick_world: World, databases: Databases) -> None:
    world = quick_world
    world.file()
    used = ordered_scrub(world)
    carry_out(world.vault, freeze_ordered(world.vault, used.id))
    kept = world.file()
    adopt(world, lambda policy: replace(policy, retention_months=12))
    open_one = ordered_scrub(world)
    before = policies_of(world)
    with world.vault.catalogue.read() as tx:
        orders = [load_order(tx, one.id) for one in (used, open_one)]

    again, _ = rebuilt(world, databases)

    assert policies_of(again) == before
    with again.vault.catalogue.read() as tx:
        assert [load_order(tx, one.id) for one in (used, open_one)] == orders
    assert is_open(again, open_one)
    assert any(one.person == HEAD for one in orders[0].approvals)
    for order, reason in ((used, "counts once"), (open_one, "rebuild voids lists")):
        with pytest.raises(OrderRefusedError, match=reason):
            freeze_ordered(again.vault, order.id)
    assert str(again.value(f"SELECT due_on FROM records WHERE id = '{kept.id}'")) == "2027-01-06"
    again.advance(days=366)
    assert freeze_sweep(again.vault)
