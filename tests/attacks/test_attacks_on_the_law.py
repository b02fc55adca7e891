"""Attacks on the law: by whoever writes in the catalogue, sets a clock, or has one token. Each once succeeded."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
import sqlalchemy as sa

from tests.people import COUNSEL, HEAD, TERMS, edited, founding_policy, key_of, submitted
from tests.recovery.test_rebuilding import close_catalogues, rebuilt
from tests.sunset.program import DEADLINE, OVER, SUNSET, end_program, ordered, to
from tests.vault.databases import Databases, on_sqlite
from tests.vault.holding import adopt, place_hold, release_order
from tests.vault.world import Record, World
from vault import holds
from vault.alarms import alarms_of, spoken_alarms
from vault.catalogue.holding import hold_records
from vault.catalogue.law import orders, sunsets
from vault.catalogue.schema import policies
from vault.destruction import releasing
from vault.destruction.drafting import draft_destroy, draft_scrub
from vault.destruction.frozen_lists import forecast, freeze_ordered
from vault.destruction.releasing import finish_endings
from vault.errors import (
    DestructionRefusedError,
    HoldRefusedError,
    LedgerBrokenError,
    OrderRefusedError,
    PolicyError,
    RecordsAreKeptError,
    RuleBrokenError,
    VaultError,
)
from vault.holds import Kind, Scope, Terms, draw_key
from vault.ids import OrderId, new_id
from vault.law.people import Person, Role
from vault.law.policy import Policy
from vault.law.retention import Cause
from vault.ledger.publishing import PREFIX
from vault.log.stored import append, entries
from vault.orders import Action, Order
from vault.orders.signatures import POLICIES, approve
from vault.records.deciding import decide_record
from vault.sunset.latching import tick
from vault.timekeeping import observe_time

__all__ = ["close_catalogues"]


def state(world: World, record: Record) -> str:
    return str(world.value(f"SELECT state FROM record_states WHERE id = '{record.id}'"))


@on_sqlite
def test_a_decision_to_destroy_lets_no_center_hasten_what_was_filed_before_it(quick_world: World) -> None:
    """P2, P3, S2: no-retain begins for what is filed from the decision on; the decision may still be replaced."""
    world = quick_world
    before = world.file()
    end_program(world)
    ordered(world, Action.DESTROY_AT_SUNSET, DEADLINE, HEAD, COUNSEL)
    after = world.file()
    assert decide_record(world.vault, world.center, after.id).due_on == date(2026, 1, 5)
    with pytest.raises(RecordsAreKeptError):
        decide_record(world.vault, world.center, before.id)
    world.advance(days=1)
    ordered(world, Action.PRESERVE, {**DEADLINE, "until": "2026-06-30"}, HEAD, COUNSEL)
    world.sweep()
    world.assert_destroyed(after)
    world.assert_readable(before)


@on_sqlite
def test_a_policy_that_was_written_into_the_catalogue_is_not_the_policy(quick_world: World) -> None:
    """P1: only the founding version stands without an order; whoever writes rows cannot make himself everybody."""
    world = quick_world
    record = world.file()
    mallory = ("mallory.one", "mallory.two", "mallory.three")
    roles = (Role.AGENCY_HEAD, Role.COUNSEL, Role.RECORDS_AUTHORITY)
    forged = replace(
        Policy.decode(founding_policy()),
        version=2,
        people=tuple(
            Person(name, frozenset({role}), frozenset({f"{name}@city.example"}))
            for name, role in zip(mallory, roles, strict=True)
        ),
        allowed_signers="".join(f"{name}@city.example {key_of(name).public}\n" for name in mallory),
    )
    body = forged.encode()
    now = world.clock.now()
    approvals = approve(body, [key_of(name).sign(body, POLICIES) for name in mallory], POLICIES, forged, now)
    with world.vault.catalogue.write() as tx:
        tx.execute(
            sa.insert(policies).values(
                version=2,
                document=body,
                approvals=[one.encode() for one in approvals],
                order_id=None,
                adopted_at=now,
            )
        )
    with pytest.raises(OrderRefusedError):
        world.sweep()
    with pytest.raises(OrderRefusedError):
        freeze_ordered(world.vault, submitted(world.vault, draft_scrub(world.vault, TERMS).order, *mallory).id)
    world.assert_readable(record)


@on_sqlite
def test_a_release_that_was_written_into_the_catalogue_ends_no_hold(quick_world: World) -> None:
    """H3: the nightly sweep ends parts of holds only under orders whose signatures verify."""
    world = quick_world
    record = world.file()
    hold = place_hold(world.vault, [record.id], "16-cv-100").hold_id
    assert hold is not None
    now = world.clock.now().replace(microsecond=0)
    order = Order(
        id=OrderId(new_id()),
        program=world.vault.vault_id.hex(),
        action=Action.RELEASE,
        scope=releasing.release_scope(world.vault, hold, {"do": "release"}, "none", None),
        reason="None.",
        legal_basis="None.",
        not_before=now,
        expires=now + timedelta(days=14),
        cooling_off_hours=0,
    )
    with world.vault.catalogue.write() as tx:
        tx.execute(
            sa.insert(orders).values(
                id=order.id,
                action="release",
                body=order.encode(),
                approvals=[],
                policy_version=1,
                accepted_at=now,
                effective_at=now,
                expires_at=order.expires,
                used_at=now,
                used_by=hold,
            )
        )
        tx.execute(sa.update(hold_records).values(ends_at=now, ending_order=order.id))
    world.advance(days=800)
    with pytest.raises(OrderRefusedError):
        finish_endings(world.vault)
    world.sweep()
    world.assert_readable(record)


@on_sqlite
def test_a_sunset_that_was_written_into_the_catalogue_destroys_nothing(quick_world: World) -> None:
    """S1, S4: a deadline latches from the policy; a row alone is no authority."""
    world = quick_world
    record = world.file()
    now = world.clock.now()
    with world.vault.catalogue.write() as tx:
        tx.execute(
            sa.insert(sunsets).values(
                deadline=date(2026, 1, 1),
                ends_at=now,
                latched_at=now,
                outcome="DESTROY",
                order_id=None,
                covers=[],
                kept=[],
            )
        )
    world.advance(hours=1)
    with pytest.raises(DestructionRefusedError, match="No sunset has latched"):
        world.destroy(Cause.SUNSET)
    assert state(world, record) == "retained"
    # Neither does it seal off reading, make the program keep nothing, or stay untold (S7, P3).
    world.assert_readable(record, world.file())
    assert {row[0] for row in world.rows("SELECT due_on FROM records")} == {"2028-01-06"}
    assert spoken_alarms(alarms_of(world.vault))[0].startswith("THE CATALOGUE WAS WRITTEN IN")
    # Nor does one that keeps for ever what is due.
    with world.vault.catalogue.write() as tx:
        kept = [["1970-01-01T00:00:00+00:00", "8999-01-01T00:00:00+00:00"]]
        row = {"ends_at": now, "latched_at": now, "outcome": "PRESERVE", "covers": [], "kept": kept}
        row |= {"deadline": date(2026, 1, 2), "kept_until": datetime(8999, 1, 1, tzinfo=UTC)}
        tx.execute(sa.insert(sunsets).values(**row))
    world.advance(days=800)
    assert world.sweep().condemned == 2


@on_sqlite
def test_an_order_that_was_written_into_the_catalogue_decides_nothing(quick_world: World) -> None:
    """S2, P3: whoever can insert orders and cannot sign has nothing ended, kept, or filed for thirty days only."""
    world = quick_world
    end_program(world)
    real = ordered(world, Action.PRESERVE, {**DEADLINE, "until": "2026-06-30"}, HEAD, COUNSEL)
    world.advance(hours=1)
    now = world.clock.now().replace(microsecond=0)
    forged = replace(real.order, id=OrderId(new_id()), action=Action.DESTROY_AT_SUNSET, scope=DEADLINE, not_before=now)
    row = {"action": "destroy-at-sunset", "approvals": [], "policy_version": 2, "accepted_at": now, "effective_at": now}
    with world.vault.catalogue.write() as tx:
        tx.execute(sa.insert(orders).values(id=forged.id, body=forged.encode(), expires_at=forged.expires, **row))
    record = world.file()
    assert world.value("SELECT due_on FROM records") == "2028-01-06"
    to(world, OVER)
    world.assert_readable(record)
    assert "its outcome is PRESERVE" in tick(world.vault)[0]
    world.assert_readable(record)


@on_sqlite
def test_an_entry_that_was_written_into_the_journal_is_never_published(
    quick_world: World, databases: Databases
) -> None:
    """H3, H12: a rebuild would believe it; so nothing is signed or destroyed after it, and a rebuild has it not."""
    world = quick_world
    record, free = world.file(), world.file()
    hold = place_hold(world.vault, [record.id], "16-cv-100").hold_id
    ledger = list(world.vault.bucket.names(PREFIX))
    with world.vault.catalogue.write() as tx:
        last = entries(tx, 0, 1000)[-1]
        lie = {"by": "nobody"}
        append(tx, replace(last, id=last.id + 1, event="hold parts ended", subject=str(hold), facts=lie))
    world.advance(days=800)
    for attempt in (lambda: place_hold(world.vault, [record.id], "16-cv-101"), world.sweep, world.scrub):
        with pytest.raises(LedgerBrokenError, match="not written by the vault"):
            attempt()
    world.assert_readable(record, free)
    assert list(world.vault.bucket.names(PREFIX)) == ledger
    rebuilt_world, done = rebuilt(world, databases)
    assert (done.records, done.held, done.holds_in_force) == (2, 1, 1)
    assert rebuilt_world.sweep().condemned == 1
    rebuilt_world.assert_readable(record)


@on_sqlite
def test_a_clock_that_is_set_back_for_a_moment_spares_no_cooling_off(quick_world: World) -> None:
    """H3, T5: an order is accepted now, not before the highest time that was ever trusted."""
    world = quick_world
    record = world.file()
    hold = place_hold(world.vault, [record.id], "16-cv-100").hold_id
    assert hold is not None
    observe_time(world.vault)
    world.advance(hours=-72)
    try:
        order = release_order(world.vault, hold, cooling_off_hours=None)
    except VaultError:
        order = None
    world.advance(hours=72, seconds=5)
    if order is not None:
        with pytest.raises(OrderRefusedError):
            releasing.release_hold(world.vault, hold, order.id)


@on_sqlite
def test_a_clock_that_is_set_back_for_a_moment_decides_nothing_after_the_cut_off(quick_world: World) -> None:
    """S2: decisions are replaceable until the cut-off, by trusted time."""
    world = quick_world
    world.file()
    end_program(world)
    ordered(world, Action.PRESERVE, {**DEADLINE, "until": "2026-06-30"}, HEAD, COUNSEL)
    to(world, OVER - timedelta(days=3))
    observe_time(world.vault)
    with pytest.raises(OrderRefusedError, match="cut off"):
        ordered(world, Action.DESTROY_AT_SUNSET, DEADLINE, HEAD, COUNSEL)
    world.advance(days=-20)
    with pytest.raises(OrderRefusedError):
        ordered(world, Action.DESTROY_AT_SUNSET, DEADLINE, HEAD, COUNSEL)


@on_sqlite
def test_a_clock_that_is_set_forward_for_a_moment_ends_no_part_of_a_hold(quick_world: World) -> None:
    """H5, T5: also a rule that matches nobody yet protects whoever comes, until its tail is over by trusted time."""
    world = quick_world
    terms = Terms(Kind.COURT_ORDER, "Supreme Court", "2016-1")
    rule = Scope(filed_from=date(2026, 1, 7))
    hold = holds.place_hold(world.vault, terms, rule, "counsel").hold_id
    releasing.release_hold(world.vault, hold, release_order(world.vault, hold).id)
    object.__setattr__(world.vault.time, "step_max", timedelta(minutes=15))
    observe_time(world.vault)
    world.advance(days=366)
    with pytest.raises(VaultError):
        finish_endings(world.vault)
    world.advance(days=-366)
    assert [line.released_at for line in holds.list_holds(world.vault, all_of_them=True)] == [None]


@on_sqlite
def test_whoever_writes_in_the_catalogue_takes_no_decision_back(quick_world: World, databases: Databases) -> None:
    """S2: PRESERVE stands though one person with the destroyer's rights had it void, or latched another outcome."""
    world = quick_world
    record = world.file()
    end_program(world)
    order = ordered(world, Action.PRESERVE, {**DEADLINE, "until": "2026-06-30"}, HEAD, COUNSEL)
    with pytest.raises(RuleBrokenError), world.vault.catalogue.write() as tx:
        tx.execute(sa.update(orders).where(orders.c.id == order.id).values(void_reason="No."))
    to(world, OVER)
    values = {"ends_at": OVER, "latched_at": OVER, "outcome": "DESTROY", "covers": [], "kept": []}
    with world.vault.catalogue.write() as tx:
        tx.execute(sa.insert(sunsets).values(deadline=SUNSET.deadline, **values))
    with pytest.raises(DestructionRefusedError, match="No sunset has latched"):
        world.destroy(Cause.SUNSET)
    assert state(world, record) == "retained"
    world.assert_readable(record)
    assert tick(world.vault) == []
    # As the alarm says.
    assert "`shredvault rebuild` makes a catalogue from the ledger" in spoken_alarms(alarms_of(world.vault))[0]
    again, _ = rebuilt(world, databases)
    assert "its outcome is PRESERVE" in tick(again.vault)[0]
    assert spoken_alarms(alarms_of(again.vault)) == []


@on_sqlite
def test_nobody_learns_of_a_sealed_hold_from_what_is_drafted_or_counted(quick_world: World) -> None:
    """H11: a draft needs nobody's signature, and a sweep's certificate is public."""
    world = quick_world
    _, public = draw_key()
    adopt(world.vault, counsel_seal=public)
    secret, free, receiving = world.file(), world.file(), world.open()
    terms = Terms(Kind.COURT_ORDER, "Supreme Court", "2016-1", sealed=True)
    held = Scope((secret.id, receiving.id))

    def told() -> list[object]:
        drafted = draft_scrub(world.vault, TERMS)
        answers = [
            draft_destroy(world.vault, [one.id, free.id], TERMS).answers[one.id] for one in (secret, free, receiving)
        ]
        count, seen = drafted.order.scope["count"], forecast(world.vault, Cause.SCRUB)
        return [count, drafted.not_listed, answers, seen.would_die, seen.would_live]

    before = told()
    hold = holds.place_hold(world.vault, terms, held, "counsel").hold_id
    assert (
        told() == before == [2, {"receiving": 1}, ["ordered", "ordered", "receiving"], {"ordered": 2}, {"receiving": 1}]
    )
    done = world.scrub()
    assert (done.condemned, done.withdrawn) == (1, 1)
    world.assert_destroyed(free)
    world.assert_readable(secret)
    world.advance(days=800)
    assert world.sweep().not_listed == {}
    world.assert_readable(secret)
    releasing.release_hold(
        world.vault,
        str(hold),
        release_order(world.vault, str(hold), {"do": "release", "tail_days": 0, "tail_reason": "r"}).id,
    )
    assert world.sweep().condemned == 2


def test_a_date_that_has_no_end_is_refused_where_it_is_written() -> None:
    """H1: whoever leaves it to be met later finds no hold placed, or a deadline that cannot be latched."""
    for first, last in ((None, date.max), (date.min, None)):
        with pytest.raises(HoldRefusedError, match="no limit"):
            Scope(filed_from=first, filed_to=last)
    with pytest.raises(HoldRefusedError, match="1970 to 8999"):
        Terms(Kind.AUDIT, "City Comptroller", "2016-1", ends_on=date.max)
    with pytest.raises(PolicyError, match="1970 to 8999"):
        replace(Policy.decode(founding_policy()), sunset=replace(SUNSET, deadline=date.max))


@on_sqlite
def test_what_people_signed_is_not_read_as_something_else(quick_world: World) -> None:
    """An order's scope is an object: pairs would come back from a rebuild as one that nobody signed."""
    body = draft_scrub(quick_world.vault, TERMS).order.encode()
    scope = Order.decode(body).scope
    with pytest.raises(OrderRefusedError):
        Order.decode(edited(body, scope=[list(pair) for pair in scope.items()]))
    for member in ("not_before", "expires"):
        with pytest.raises(OrderRefusedError):
            Order.decode(edited(body, **{member: "9999-12-31T23:59:59Z"}))


@on_sqlite
def test_a_clock_that_is_set_back_for_a_moment_makes_nothing_due_and_leaves_nobody_out(quick_world: World) -> None:
    """T2, T5, H8: filing goes on, and is never below the high-water mark; nor is what a hold captures."""
    world = quick_world
    held = world.file()
    observe_time(world.vault)
    world.advance(days=-800)
    early = world.file()
    capture = Scope(filed_from=date(2020, 1, 1), includes_future=False)
    placed = holds.place_hold(world.vault, Terms(Kind.AUDIT, "City Comptroller", "2016-1"), capture, "counsel")
    world.advance(days=800)
    assert placed.matched == 2
    assert {row[0] for row in world.rows("SELECT due_on FROM records")} == {"2028-01-06"}
    releasing.release_hold(world.vault, placed.hold_id, release_order(world.vault, placed.hold_id).id)
    assert world.sweep().condemned == 0
    world.assert_readable(early, held)
