"""Holds that come too late, again, or against a stay: what stays written down, and what has no effect."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.holds.test_hold_rules import rebuilt
from tests.people import edited, frozen
from tests.vault.databases import on_sqlite
from tests.vault.holding import AUTHORITY, adopt, place_hold, release_order
from tests.vault.world import World
from vault import holds
from vault.destruction import releasing
from vault.destruction.carrying_out import carry_out, recover_destructions
from vault.errors import HoldRefusedError, NotFoundError, OrderRefusedError
from vault.holds import Kind, NothingToHoldError, Scope, Terms, acknowledge_late, attention, late_holds, list_holds
from vault.holds.sealed import draw_key
from vault.law.retention import Cause
from vault.orders import Order

SEALED = Terms(Kind.COURT_ORDER, AUTHORITY, "80308-16-canary", reason="grand jury canary", sealed=True)


def too_late(world: World) -> list[str]:
    return [one for one in attention(world.vault) if "too late" in one]


def test_counsel_is_told_of_a_hold_that_came_too_late_until_somebody_has_answered(quick_world: World) -> None:
    """H7: in the ledger, so that a rebuild tells it too; once for each hold and its records."""
    world = quick_world
    dead, living = world.file(), world.file()
    place_hold(world.vault, [living.id], "in-time")
    done = world.scrub()
    assert too_late(world) == []
    for _ in range(2):
        placed = place_hold(world.vault, [dead.id, living.id], "16-cv-100")
        assert placed.answers[dead.id].endswith(done.id)
    (said,) = too_late(world)
    assert f"Hold {placed.hold_id}, docket 16-cv-100, came too late for 1 record that it names: {done.id}" in said
    for _ in range(2):
        with pytest.raises(NothingToHoldError):
            place_hold(world.vault, [dead.id], "16-cv-101")
        with pytest.raises(NothingToHoldError):
            holds.widen_hold(world.vault, placed.hold_id, Scope((dead.id,)), "counsel")
    # Widened by the same, it says nothing new.
    assert [one.split(" came")[0] for one in too_late(world)] == [
        said.split(" came")[0],
        "A hold that could not be placed, docket 16-cv-101,",
        "A hold that could not be placed, docket 16-cv-100,",
    ]
    with world.vault.catalogue.read() as tx:
        numbers = [one.entry for one in late_holds(tx)]
    for who in ("", "x" * 81):
        with pytest.raises(HoldRefusedError):
            acknowledge_late(world.vault, numbers[0], who)
    acknowledge_late(world.vault, numbers[0], "Carl Iverson, counsel")
    world = rebuilt(world)
    assert len(too_late(world)) == 2
    with pytest.raises(NotFoundError):
        acknowledge_late(world.vault, numbers[0], "Carl Iverson, counsel")
    for number in numbers[1:]:
        acknowledge_late(world.vault, number, "Carl Iverson, counsel")
    assert too_late(world) == []


@on_sqlite
def test_a_rule_that_comes_as_a_destruction_cannot_be_stopped_any_more_is_told(quick_world: World) -> None:
    world = quick_world
    world.file()

    def die(step: str) -> None:
        if step == "fence":
            raise KeyboardInterrupt

    destruction = frozen(world.vault, Cause.SCRUB)
    with pytest.raises(KeyboardInterrupt):
        carry_out(world.vault, destruction, die)
    holds.place_hold(world.vault, Terms(Kind.AUDIT, AUTHORITY, "A-1"), Scope(program=True), "counsel")
    (said,) = too_late(world)
    assert said.startswith("Hold ")
    assert f"came too late for what was being destroyed: {destruction}" in said
    recover_destructions(world.vault)
    holds.place_hold(world.vault, Terms(Kind.AUDIT, AUTHORITY, "A-2"), Scope(program=True), "counsel")
    assert too_late(world) == [said]


def test_a_sealed_hold_that_is_placed_again_adds_to_itself_and_says_nothing(quick_world: World) -> None:
    """H2, H11: known by a tag that only this vault can make, and that says nothing of the docket."""
    world = quick_world
    one, two, dead = world.file(), world.file(), world.file()
    adopt(world.vault, counsel_seal=draw_key()[1])
    place_hold(world.vault, [one.id, two.id], "open")
    world.scrub()
    first = holds.place_hold(world.vault, SEALED, Scope((one.id,)), "counsel")
    again = holds.place_hold(world.vault, replace(SEALED, reason=None), Scope((two.id, dead.id)), "counsel")
    assert (again.hold_id, again.matched, again.repeated) == (first.hold_id, 2, False)
    assert holds.place_hold(world.vault, SEALED, Scope((two.id,)), "counsel").repeated
    others = {
        holds.place_hold(world.vault, terms, Scope((one.id,)), "counsel").hold_id
        for terms in (
            replace(SEALED, docket="80308-16-canarx"),
            replace(SEALED, authority="Supreme Court"),
            replace(SEALED, sealed=False),
        )
    }
    assert len(others | {first.hold_id}) == 4
    tags = [bytes(row[0]) for row in world.rows("SELECT seal_tag FROM holds WHERE seal_tag IS NOT NULL")]
    assert (len(set(tags)), {len(tag) for tag in tags}) == (3, {32})
    # What came too late for a sealed hold is told to counsel alone, without its docket.
    assert too_late(world) == []
    (said,) = (sentence for sentence in attention(world.vault, for_counsel=True) if "too late" in sentence)
    assert "canary" not in said
    world = rebuilt(world)
    assert holds.place_hold(world.vault, SEALED, Scope((one.id,)), "counsel").hold_id == first.hold_id


@on_sqlite
def test_h3_while_the_stay_runs_a_release_has_no_effect(quick_world: World) -> None:
    """H3: the stay that the order names, to the end of its last day in the program's zone."""
    world = quick_world
    record = world.file()
    hold = place_hold(world.vault, [record.id], "16-cv-100").hold_id
    stay = {"what": "Stay of the Appellate Division", "until": "2026-01-12"}
    order = release_order(world.vault, hold, stay=stay)
    over = datetime(2026, 1, 13, 5, tzinfo=UTC)
    assert order.effective_at == over
    world.clock.advance(over - world.clock.now() - timedelta(seconds=1))
    with pytest.raises(OrderRefusedError, match="cannot be carried out before 2026-01-13T05:00:00Z"):
        releasing.release_hold(world.vault, hold, order.id)
    assert len(list_holds(world.vault)) == 1
    world.clock.advance(timedelta(seconds=1))
    releasing.release_hold(world.vault, hold, order.id)
    assert list_holds(world.vault) == []
    # One that outlasts the order, or has no last day, cannot be.
    other = place_hold(world.vault, [record.id], "16-cv-101").hold_id
    with pytest.raises(OrderRefusedError, match="the stay that it names"):
        release_order(world.vault, other, stay={**stay, "until": "2026-06-30"})
    scope = dict(order.order.scope)
    for wrong in (
        "a stay is on",
        {"what": "Stay"},
        {**stay, "until": None},
        {**stay, "until": "soon"},
        {**stay, "x": "y"},
    ):
        with pytest.raises(OrderRefusedError):
            Order.decode(edited(order.body, scope={**scope, "stay": wrong}))
