"""Orders that are accepted, and every kind of order that is refused, with the reason and nothing stored."""

import json
from datetime import timedelta
from typing import Any

import pytest

from tests.people import (
    AUDITOR,
    COUNSEL,
    HEAD,
    OFFICER,
    edited,
    key_of,
    signed,
)
from tests.vault.databases import on_sqlite
from tests.vault.world import World
from vault import canonical
from vault.errors import NotFoundError, OrderRefusedError, RuleBrokenError
from vault.ids import OrderId, new_id
from vault.orders import Accepted, Action, Order, accept_order, load_order, require_order, use_order
from vault.orders.accepting import withdraw_order
from vault.orders.order import spell_instant
from vault.orders.signatures import POLICIES

SUSPECT = "2026-01-05T14:00:00Z"


def order(world: World, **changes: Any) -> Order:
    now = world.clock.now().replace(microsecond=0)
    members: dict[str, Any] = {
        "id": OrderId(new_id()),
        "program": world.vault.vault_id.hex(),
        "action": Action.CLEAR_TIME,
        "scope": {"suspect_since": SUSPECT},
        "reason": "The clock was checked against the observatory.",
        "legal_basis": "Records schedule 12",
        "not_before": now,
        "expires": now + timedelta(days=10),
        "cooling_off_hours": None,
    }
    return Order(**{**members, **changes})


def accept(world: World, body: bytes, *names: str) -> Accepted:
    return accept_order(world.vault, body, [signed(name, body) for name in names])


def refused(world: World, body: bytes, *signatures: bytes) -> str:
    """The reason of a refusal that stores nothing."""
    before = world.rows("SELECT id FROM orders"), world.value("SELECT COUNT(*) FROM journal")
    with pytest.raises(OrderRefusedError) as refusal:
        accept_order(world.vault, body, signatures)
    assert (world.rows("SELECT id FROM orders"), world.value("SELECT COUNT(*) FROM journal")) == before
    return str(refusal.value)


def test_an_order_is_accepted_used_once_and_never_again(quick_world: World) -> None:
    world = quick_world
    body = order(world).encode()
    accepted = accept(world, body, OFFICER, AUDITOR)
    assert [one.person for one in accepted.approvals] == [OFFICER, AUDITOR]
    assert all(one.key.startswith("SHA256:") for one in accepted.approvals)
    now = world.clock.now()
    with world.vault.catalogue.write() as tx:
        assert require_order(tx, accepted.id, Action.CLEAR_TIME, now) == load_order(tx, accepted.id)
        assert load_order(tx, accepted.id).body == body
        use_order(tx, accepted.id, "clock", now)
    with world.vault.catalogue.read() as tx, pytest.raises(OrderRefusedError, match="counts once"):
        require_order(tx, accepted.id, Action.CLEAR_TIME, now)
    with pytest.raises(RuleBrokenError), world.vault.catalogue.write() as tx:
        use_order(tx, accepted.id, "another", now)
    with pytest.raises(RuleBrokenError):
        world.run(f"UPDATE orders SET used_at = NULL, used_by = NULL WHERE id = '{accepted.id}'")
    with pytest.raises(RuleBrokenError):
        world.run(f"DELETE FROM orders WHERE id = '{accepted.id}'")
    journal = world.rows("SELECT event, facts FROM journal WHERE event LIKE 'order %' ORDER BY id")
    assert [row[0] for row in journal] == ["order accepted", "order used"]


def test_an_order_that_was_handed_in_before_is_refused(quick_world: World) -> None:
    body = order(quick_world).encode()
    accept(quick_world, body, OFFICER, AUDITOR)
    signatures = [signed(name, body) for name in (OFFICER, AUDITOR)]
    assert "handed in before" in refused(quick_world, body, *signatures)


def test_too_few_signatures_are_refused_with_what_is_missing(quick_world: World) -> None:
    world = quick_world
    body = order(world).encode()
    assert "auditor" in refused(world, body, signed(OFFICER, body))
    assert "records-officer" in refused(world, body, signed(COUNSEL, body), signed(AUDITOR, body))
    assert "nobody signed" in refused(world, body)


def test_one_person_is_refused_twice_with_one_key_or_with_two(quick_world: World) -> None:
    body = order(quick_world).encode()
    assert f"{OFFICER} signed twice" in refused(quick_world, body, signed(OFFICER, body), signed(OFFICER, body))


@on_sqlite
def test_signatures_that_are_not_over_this_order_are_refused(quick_world: World) -> None:
    world = quick_world
    body, other = order(world).encode(), order(world).encode()
    good = signed(AUDITOR, body)
    assert "does not verify" in refused(world, body, signed(OFFICER, other), good)
    assert "does not verify" in refused(world, body, signed(OFFICER, body, POLICIES), good)
    assert "allowed-signers" in refused(world, body, key_of("stranger").sign(body), good)
    assert "is none" in refused(world, body, b"signed, otto", good)
    damaged = signed(OFFICER, body).replace(b"A", b"B", 3)
    with pytest.raises(OrderRefusedError):
        accept_order(world.vault, body, [damaged, good])


@on_sqlite
def test_an_order_that_was_changed_after_it_was_signed_is_refused(quick_world: World) -> None:
    """Re-scoping, word for word: no member of the document can change under the signatures."""
    world = quick_world
    body = order(world).encode()
    signatures = [signed(OFFICER, body), signed(AUDITOR, body)]
    later = spell_instant(world.clock.now() + timedelta(days=20))
    for changes in (
        {"scope": {"suspect_since": "2026-01-05T14:00:01Z"}},
        {"reason": "Another."},
        {"expires": later},
        {"nonce": new_id()},
        {"cooling_off_hours": 0},
    ):
        assert "does not verify" in refused(world, edited(body, **changes), *signatures)
    assert accept_order(world.vault, body, signatures).body == body


@on_sqlite
def test_documents_that_are_no_orders_are_refused(quick_world: World) -> None:
    body = order(quick_world).encode()
    for wrong, reason in (
        (body + b"\n", "canonical"),
        (b" " + body, "canonical"),
        (json.dumps(json.loads(body), indent=1).encode(), "canonical"),
        (body.replace(b'"action"', b'"action":1,"action"', 1), "canonical"),
        (edited(body, cooling_off_hours=1.5), "fractions"),
        (edited(body, more="members"), "no order"),
        (edited(body, action="burn"), "no order"),
        (edited(body, cooling_off_hours=True), "no order"),
        (edited(body, scope={"hold": "x"}), "scope"),
        (edited(body, reason=" "), "reason"),
        (edited(body, nonce="short"), "nonce"),
        (edited(body, expires="2027-01-05T14:00:00Z"), "within 90 days"),
        (edited(body, program="00" * 16), "another vault"),
        (b"[" * 100_000, "not JSON"),
        (b" " * 300_000, "longer"),
    ):
        assert reason in refused(quick_world, wrong, *(signed(name, wrong) for name in (OFFICER, AUDITOR)))


@on_sqlite
def test_time_limits_are_kept(quick_world: World) -> None:
    world = quick_world
    now = world.clock.now().replace(microsecond=0)
    soon = order(world, not_before=now + timedelta(hours=2), cooling_off_hours=1)
    accepted = accept(world, soon.encode(), OFFICER, AUDITOR)
    assert accepted.effective_at == soon.not_before
    cooling = accept(world, order(world, cooling_off_hours=3).encode(), OFFICER, AUDITOR)
    with world.vault.catalogue.read() as tx:
        for early in (accepted, cooling):
            with pytest.raises(OrderRefusedError, match="cannot be carried out before"):
                require_order(tx, early.id, Action.CLEAR_TIME, early.effective_at - timedelta(microseconds=1))
            assert require_order(tx, early.id, Action.CLEAR_TIME, early.effective_at).id == early.id
            with pytest.raises(OrderRefusedError, match="expired"):
                require_order(tx, early.id, Action.CLEAR_TIME, early.order.expires)
            with pytest.raises(OrderRefusedError, match="not to scrub"):
                require_order(tx, early.id, Action.SCRUB, early.effective_at)
        with pytest.raises(NotFoundError):
            require_order(tx, new_id(), Action.SCRUB, now)
    never = order(world, expires=now + timedelta(hours=1), cooling_off_hours=2).encode()
    assert "before its cooling-off" in refused(world, never, *(signed(name, never) for name in (OFFICER, AUDITOR)))
    world.advance(days=11)
    late = order(world, not_before=now, expires=now + timedelta(days=10)).encode()
    assert "expired" in refused(world, late, *(signed(name, late) for name in (OFFICER, AUDITOR)))


@on_sqlite
def test_an_order_that_was_taken_back_gives_no_authority(quick_world: World) -> None:
    world = quick_world
    accepted = accept(world, order(world).encode(), OFFICER, AUDITOR)
    withdraw_order(world.vault, accepted.id, "the hearing was moved.")
    with pytest.raises(OrderRefusedError, match="already"):
        withdraw_order(world.vault, accepted.id, "again")
    with world.vault.catalogue.read() as tx, pytest.raises(OrderRefusedError, match="the hearing was moved"):
        require_order(tx, accepted.id, Action.CLEAR_TIME, world.clock.now())


def test_a_cooling_off_is_the_policys_unless_the_order_says_otherwise(quick_world: World) -> None:
    """H3: 72 hours for a release; the order may say 0."""
    world = quick_world
    scope = {"hold": new_id(), "change": {"release": True}, "releasing_act": "Stipulation of April 3", "stay": None}
    by_policy = accept(world, order(world, action=Action.RELEASE, scope=scope).encode(), COUNSEL, HEAD)
    assert by_policy.effective_at == by_policy.accepted_at + timedelta(hours=72)
    at_once = order(world, action=Action.RELEASE, scope=scope, cooling_off_hours=0)
    accepted = accept(world, at_once.encode(), COUNSEL, OFFICER)
    assert accepted.effective_at == accepted.accepted_at


def test_canonical_documents_have_one_text() -> None:
    value = {"b": [1, None, True, "ü\n\u2028"], "a": {"d": "", "c": -7}}
    assert canonical.encode(value) == '{"a":{"c":-7,"d":""},"b":[1,null,true,"ü\\n\u2028"]}'.encode()
    assert canonical.decode(canonical.encode(value)) == value
