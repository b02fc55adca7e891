"""What an order destroys: exactly its list, once, with its authority asked again at the point of no return."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from tests.people import (
    APPROVERS,
    AUTHORITY,
    COUNSEL,
    HEAD,
    OFFICER,
    TERMS,
    edited,
    frozen,
    signed,
    submitted,
)
from tests.vault.databases import on_sqlite
from tests.vault.holding import place_hold
from tests.vault.world import Record, World
from vault.catalogue.destructions import load
from vault.catalogue.schema import policies
from vault.context import current_policy
from vault.destruction.authority import claim_authority
from vault.destruction.carrying_out import carry_out, recover_destructions
from vault.destruction.drafting import draft_adoption, draft_destroy, draft_scrub
from vault.destruction.frozen_lists import forecast_ordered, freeze_ordered, freeze_sweep
from vault.errors import NotApprovedError, OrderRefusedError, RuleBrokenError
from vault.ids import new_id
from vault.law.people import Role
from vault.law.policy import Policy
from vault.law.retention import Cause
from vault.orders import Accepted, Action, accept_order, adopt_policy, load_order
from vault.orders.accepting import withdraw_order


def ordered_scrub(world: World, days: int = 10) -> Accepted:
    return submitted(world.vault, draft_scrub(world.vault, replace(TERMS, days=days)).order)


def is_open(world: World, order: Accepted) -> bool:
    with world.vault.catalogue.read() as tx:
        return load_order(tx, order.id).used_at is None


def adopt(world: World, change: Callable[[Policy], Policy]) -> Policy:
    """Put another version of the policy in force, as its people would."""
    with world.vault.catalogue.read() as tx:
        before = current_policy(tx)
    policy = change(replace(before, version=before.version + 1))
    order = submitted(world.vault, draft_adoption(world.vault, policy, TERMS))
    return adopt_policy(world.vault, order.id, policy.encode()).policy


def test_a_scrub_takes_its_list_and_not_a_record_more(quick_world: World) -> None:
    world = quick_world
    listed, held_since, receiving = world.file(), world.file(), world.open()
    held = world.file()
    place_hold(world.vault, [held.id], "1")
    drafted = draft_scrub(world.vault, TERMS)
    assert (drafted.order.scope["count"], drafted.not_listed) == (2, {"held": 1, "receiving": 1})
    order = submitted(world.vault, drafted.order)
    filed_since = world.file()
    place_hold(world.vault, [held_since.id], "2")
    assert forecast_ordered(world.vault, order.id, Action.SCRUB).would_live == {"held": 1}

    done = carry_out(world.vault, freeze_ordered(world.vault, order.id))

    assert (done.kind, done.order_id, done.policy_version) == ("scrub", order.id, 1)
    assert all(name in done.authority for name in APPROVERS)
    assert (done.list_root.hex(), done.listed) == (order.order.scope["root"], 2)
    assert (done.condemned, done.withdrawn, done.not_listed) == (1, 1, {"held": 1, "receiving": 1})
    assert "not_executed" not in done.observed
    world.assert_destroyed(listed)
    world.assert_readable(held, held_since, filed_since)
    world.upload(receiving)
    with world.vault.catalogue.read() as tx:
        assert load_order(tx, order.id).used_by == done.id
    with pytest.raises(OrderRefusedError, match="counts once"):
        freeze_ordered(world.vault, order.id)


def test_named_records_are_destroyed_and_every_id_is_answered(quick_world: World) -> None:
    world = quick_world
    mistake, other, held, dead = (world.file() for _ in range(4))
    carry_out(world.vault, freeze_ordered(world.vault, named(world, dead).id))
    place_hold(world.vault, [held.id], "1")
    drafted = draft_destroy(world.vault, [mistake.id, held.id, dead.id, "nonsense", new_id()], TERMS)
    assert list(drafted.answers.values()) == ["ordered", "held", "gone", "unknown", "unknown"]
    body = drafted.order.encode()
    with pytest.raises(OrderRefusedError, match="records-officer"):
        accept_order(world.vault, body, [signed(name, body) for name in APPROVERS])
    order = submitted(world.vault, drafted.order, OFFICER, HEAD, AUTHORITY)
    done = carry_out(world.vault, freeze_ordered(world.vault, order.id))
    assert (done.kind, done.condemned) == ("destroy", 1)
    world.assert_destroyed(mistake, dead)
    world.assert_readable(other, held)
    with pytest.raises(OrderRefusedError, match="None of these"):
        draft_destroy(world.vault, [mistake.id, held.id], TERMS)


def named(world: World, *records: Record) -> Accepted:
    drafted = draft_destroy(world.vault, [record.id for record in records], TERMS)
    return submitted(world.vault, drafted.order, OFFICER, COUNSEL, HEAD)


def test_an_order_for_one_action_does_not_do_for_another(quick_world: World) -> None:
    world = quick_world
    world.file()
    body = draft_scrub(world.vault, TERMS).order.encode()
    fewer = edited(body, action="destroy")
    with pytest.raises(OrderRefusedError, match="another action"):
        accept_order(world.vault, fewer, [signed(name, fewer) for name in (OFFICER, COUNSEL, HEAD)])
    for scope, reason in (
        ({**draft_scrub(world.vault, TERMS).order.scope, "count": 2}, "another root or count"),
        ({"list": new_id(), "root": "0" * 64, "count": 1}, "not in this vault"),
    ):
        other = edited(body, scope=scope)
        with pytest.raises(OrderRefusedError, match=reason):
            accept_order(world.vault, other, [signed(name, other) for name in APPROVERS])
    world.assert_readable(*world.records)


def test_an_edited_list_is_void(quick_world: World) -> None:
    """Whoever can write in the database adds a record to the list: the root that was signed no longer fits."""
    world = quick_world
    world.file(), world.file()
    order = named(world, world.records[0])
    cohort, slot = world.place(world.records[1])
    with pytest.raises(RuleBrokenError):
        world.run("UPDATE list_slots SET cohort_id = 2")
    drop = "DROP TRIGGER list_slots_are_append_only"
    world.run(drop if world.databases.kind == "sqlite" else f"{drop} ON list_slots")
    _, own = world.place(world.records[0])
    bits = (1 << own | 1 << slot).to_bytes(128, "little").hex()
    literal = f"X'{bits}'" if world.databases.kind == "sqlite" else f"'\\x{bits}'"
    world.run(f"UPDATE list_slots SET slots = {literal} WHERE cohort_id = {cohort}")
    with pytest.raises(OrderRefusedError, match="edited"):
        freeze_ordered(world.vault, order.id)
    assert is_open(world, order)
    world.assert_readable(*world.records)


@on_sqlite
def test_a_list_is_void_after_14_days_and_an_order_after_its_expiry(quick_world: World) -> None:
    world = quick_world
    world.file()
    drafted = draft_scrub(world.vault, replace(TERMS, days=30))
    world.advance(days=13, hours=23)
    order = submitted(world.vault, drafted.order)
    assert forecast_ordered(world.vault, order.id, Action.SCRUB).would_die
    world.advance(hours=2)
    with pytest.raises(OrderRefusedError, match="14 days"):
        freeze_ordered(world.vault, order.id)
    short = ordered_scrub(world, days=1)
    world.advance(days=1)
    with pytest.raises(OrderRefusedError, match="expired"):
        freeze_ordered(world.vault, short.id)
    world.assert_readable(*world.records)


@on_sqlite
def test_a_scrub_cools_off_for_48_hours_unless_the_order_says_0(quick_world: World) -> None:
    world = quick_world
    world.file()
    drafted = draft_scrub(world.vault, replace(TERMS, cooling_off_hours=None)).order
    order = submitted(world.vault, drafted)
    assert order.effective_at == order.accepted_at + timedelta(hours=48)
    world.advance(hours=47)
    with pytest.raises(OrderRefusedError, match="cannot be carried out before"):
        freeze_ordered(world.vault, order.id)
    world.advance(hours=1, seconds=1)
    assert carry_out(world.vault, freeze_ordered(world.vault, order.id)).condemned == 1


# --- authority is asked again in the condemning transaction -----------------------------------------------


def refused_at_the_last_moment(world: World, frozen_id: str, at: str, event: Callable[[], object]) -> str:
    """The refusal of a destruction in which something happens as a step begins; nothing died, nothing is left over."""

    def progress(step: str) -> None:
        if step == at:
            event()

    with pytest.raises(OrderRefusedError) as refusal:
        carry_out(world.vault, frozen_id, progress)  # type: ignore[arg-type]
    world.assert_readable(*world.records)
    world.assert_two_masters()
    assert world.rows("SELECT id FROM destructions WHERE condemned_at IS NOT NULL") == []
    assert recover_destructions(world.vault).undone == []
    return str(refusal.value)


@pytest.mark.parametrize("cause", [Cause.SWEEP, Cause.SCRUB])
def test_a_policy_that_changes_meanwhile_stops_a_destruction(quick_world: World, cause: Cause) -> None:
    world = quick_world
    world.file()
    world.advance(days=800)
    frozen_id = frozen(world.vault, cause)
    event = lambda: adopt(world, lambda policy: replace(policy, abandon_after_hours=48))  # noqa: E731
    assert "policy" in refused_at_the_last_moment(world, frozen_id, "condemn", event)
    assert world.destroy(cause).condemned == 1


def test_an_order_that_is_taken_back_meanwhile_destroys_nothing(quick_world: World) -> None:
    world = quick_world
    world.file()
    order = ordered_scrub(world)
    frozen_id = freeze_ordered(world.vault, order.id)
    event = lambda: withdraw_order(world.vault, order.id, "A court has spoken.")  # noqa: E731
    assert "court has spoken" in refused_at_the_last_moment(world, frozen_id, "condemn", event)


@on_sqlite
def test_an_order_that_expires_meanwhile_destroys_nothing(quick_world: World) -> None:
    world = quick_world
    world.file()
    order = ordered_scrub(world, days=1)
    frozen_id = freeze_ordered(world.vault, order.id)
    reason = refused_at_the_last_moment(world, frozen_id, "condemn", lambda: world.advance(days=1))
    assert "expired" in reason


def test_an_order_survives_a_destruction_that_did_not_come_to_condemning(quick_world: World) -> None:
    world = quick_world
    world.file()
    order = ordered_scrub(world)

    class PowerCutError(Exception):
        pass

    def cut(step: str) -> None:
        if step == "condemn":
            raise PowerCutError

    with pytest.raises(PowerCutError):
        carry_out(world.vault, freeze_ordered(world.vault, order.id), cut)
    recover_destructions(world.vault)
    assert is_open(world, order)
    assert carry_out(world.vault, freeze_ordered(world.vault, order.id)).condemned == 1
    assert not is_open(world, order)


@on_sqlite
def test_a_kind_of_destruction_that_nobody_knows_has_no_authority(quick_world: World) -> None:
    vault = quick_world.vault
    frozen_id = freeze_sweep(vault)
    with vault.catalogue.write() as tx:
        sweep = load(tx, frozen_id)
        claim_authority(tx, sweep, vault.clock.now())
        with pytest.raises(OrderRefusedError, match="Nothing gives authority for a purge"):
            claim_authority(tx, replace(sweep, kind="purge"), vault.clock.now())


@on_sqlite
def test_an_order_for_nothing_is_used_up_too(quick_world: World) -> None:
    world = quick_world
    order = ordered_scrub(world)
    done = carry_out(world.vault, freeze_ordered(world.vault, order.id))
    assert (done.condemned, done.completed_at is not None) == (0, True)
    assert not is_open(world, order)
    late = ordered_scrub(world)
    frozen_id = freeze_ordered(world.vault, late.id)
    withdraw_order(world.vault, late.id, "no")
    with pytest.raises(OrderRefusedError):
        carry_out(world.vault, frozen_id)
    assert recover_destructions(world.vault).undone == []


def test_the_database_itself_asks_for_the_order(quick_world: World) -> None:
    """Code that forgot to ask is stopped by the schema: W5."""
    world = quick_world
    world.file()
    frozen_id = freeze_ordered(world.vault, ordered_scrub(world).id)
    with pytest.raises(RuleBrokenError):
        world.run(f"UPDATE destructions SET condemned_at = 1 WHERE id = '{frozen_id}'")


# --- the standing authority of a sweep --------------------------------------------------------------------


@on_sqlite
def test_nothing_is_swept_under_a_policy_without_approvals(quick_world: World) -> None:
    world = quick_world
    world.file()
    world.advance(days=800)
    world.run("DROP TRIGGER policies_are_append_only")
    with world.vault.catalogue.read() as tx:
        approvals, policy = tx.execute(sa.select(policies.c.approvals)).scalar_one(), current_policy(tx)

    def edit(**columns: object) -> None:
        with world.vault.catalogue.write() as tx:
            tx.execute(sa.update(policies).values(**columns))

    edit(approvals=[])
    with pytest.raises(NotApprovedError, match="shredvault policy adopt"):
        freeze_sweep(world.vault)
    world.file()  # filing goes on
    # Whoever can write in the catalogue cannot sign.
    edit(approvals=[{**one, "person": HEAD, "roles": list(Role)} for one in approvals])
    with pytest.raises(NotApprovedError):
        freeze_sweep(world.vault)
    edit(approvals=[{**one, "signature": approvals[0]["signature"]} for one in approvals])
    with pytest.raises(OrderRefusedError, match="signed twice"):
        freeze_sweep(world.vault)
    edit(approvals=approvals, document=replace(policy, abandon_after_hours=1).encode())
    with pytest.raises(OrderRefusedError, match="does not verify"):
        freeze_sweep(world.vault)
    edit(document=policy.encode())
    assert freeze_sweep(world.vault)
    world.assert_readable(*world.records)


def test_a_shorter_retention_applies_to_all_and_a_longer_one_to_nobody(quick_world: World) -> None:
    """P2."""
    world = quick_world
    old = world.file()
    cohort_revision = world.value("SELECT revision FROM cohorts")
    adopt(world, lambda policy: replace(policy, retention_months=12))
    assert str(world.value("SELECT due_on FROM records")) == "2027-01-06"
    assert world.value("SELECT revision FROM cohorts") > cohort_revision
    assert world.value("SELECT policy_version FROM records") == 1
    adopt(world, lambda policy: replace(policy, retention_months=36))
    assert str(world.value("SELECT due_on FROM records")) == "2027-01-06"
    young = world.file()
    due = world.rows("SELECT due_on FROM records ORDER BY due_on")
    assert [str(row[0]) for row in due] == ["2027-01-06", "2029-01-06"]
    world.advance(days=366)
    assert world.sweep().condemned == 1
    world.assert_destroyed(old)
    world.assert_readable(young)
    with pytest.raises(RuleBrokenError):
        world.run(f"UPDATE records SET due_on = '2031-01-01' WHERE id = '{young.id}'")
