"""A sunset over a real vault: what latches, what is deferred, who may read, what is destroyed (S2 to S7)."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from tests.people import COUNSEL, HEAD
from tests.sunset.program import DEADLINE, OVER, SUNSET, end_program, events, ordered, sealed_off, to
from tests.vault.databases import on_sqlite
from tests.vault.holding import AUTHORITY, adopt, place_hold, release_hold
from tests.vault.world import Record, World
from vault import holds
from vault.access import ForbiddenError
from vault.alarms import alarms_of
from vault.certificates import issue_certificate, verify_certificate
from vault.clocks.trusted_time import TimeSources
from vault.destruction.carrying_out import carry_out, recover_destructions
from vault.destruction.frozen_lists import freeze_sunset
from vault.errors import (
    DestructionRefusedError,
    OrderRefusedError,
    RecordIncompleteError,
    RecordsAreKeptError,
    RuleBrokenError,
    TimeSuspectError,
)
from vault.holds import Kind, Scope, Terms
from vault.law.policy import Sunset
from vault.law.retention import Cause
from vault.orders import Action
from vault.orders.accepting import withdraw_order
from vault.receipts.answers import Kept, Receipts
from vault.records.deciding import decide_record
from vault.records.receipt_codes import code_of
from vault.recovery.rebuild import rebuild
from vault.sunset.latching import tick
from vault.timekeeping import load_marks


def test_nobody_decides_and_everything_goes_that_is_not_held(quick_world: World) -> None:
    """S3, S4, S5, S6, S7, H6."""
    world = quick_world
    gone, held = world.file(), world.file()
    hold = place_hold(world.vault, [held.id], "16-cv-100").hold_id
    assert hold is not None
    end_program(world)
    assert len(tick(world.vault)) == 1
    assert tick(world.vault) == []
    assert events(world, "sunset%") == ["sunset notice"]
    to(world, OVER - timedelta(minutes=1))
    assert len(tick(world.vault)) == 1
    with pytest.raises(DestructionRefusedError, match="No sunset has latched"):
        world.destroy(Cause.SUNSET)
    world.assert_readable(gone, held)
    # The last day is over: nobody reads what is to be destroyed, though nothing has latched yet. What is held is read.
    to(world, OVER)
    assert sealed_off(world, gone.id)
    world.assert_readable(held)
    with pytest.raises(DestructionRefusedError, match="No sunset has latched"):
        world.destroy(Cause.SUNSET)
    latched, deferred = tick(world.vault)
    assert "2026-03-08 is over; its outcome is DESTROY, by default" in latched
    assert "1 record is held" in deferred
    assert tick(world.vault) == []
    after = world.file()
    assert world.destroy(Cause.SUNSET).condemned == 1
    world.assert_destroyed(gone)
    world.assert_readable(held, after)
    # Held, it is deferred month by month, with a statement each time, and needs no other decision.
    to(world, OVER + timedelta(days=32))
    assert [sentence[:8] for sentence in tick(world.vault)] == ["1 record"]
    assert tick(world.vault) == []
    release_hold(world.vault, hold, "test")
    assert sealed_off(world, held.id)
    assert world.destroy(Cause.SUNSET).condemned == 1
    world.assert_destroyed(held)
    world.assert_readable(after)
    to(world, OVER + timedelta(days=63))
    assert [sentence[:9] for sentence in tick(world.vault)] == ["No record"]
    to(world, OVER + timedelta(days=200))
    assert tick(world.vault) == []
    with pytest.raises(RuleBrokenError):
        world.run("UPDATE sunsets SET outcome = 'PRESERVE'")
    with pytest.raises(RuleBrokenError):
        world.run("DELETE FROM sunsets")


def test_what_is_preserved_lives_until_its_date(quick_world: World) -> None:
    """S2, S4, P2: decided while held, replaced until the cut-off. It is kept past its due date, and then as ever."""
    world = quick_world
    record = world.file()
    end_program(world, retention_months=4)
    with pytest.raises(OrderRefusedError, match="under-signed"):
        ordered(world, Action.PRESERVE, {**DEADLINE, "until": "2026-06-30"}, HEAD)
    ordered(world, Action.DESTROY_AT_SUNSET, DEADLINE, HEAD, COUNSEL)
    world.advance(seconds=1)
    preserve = ordered(world, Action.PRESERVE, {**DEADLINE, "until": "2026-06-30"}, HEAD, COUNSEL)
    to(world, datetime(2026, 2, 21, 5, tzinfo=UTC))
    with pytest.raises(OrderRefusedError, match="cut off"):
        ordered(world, Action.DESTROY_AT_SUNSET, DEADLINE, HEAD, COUNSEL)
    to(world, OVER)
    assert not sealed_off(world, record.id)
    assert f"PRESERVE, by order {preserve.id}" in tick(world.vault)[0]
    with pytest.raises(DestructionRefusedError, match="destroys anything"):
        world.destroy(Cause.SUNSET)
    # Two people ordered to keep it: its age does not take it before that day is over, nor is it overdue.
    assert str(world.value("SELECT due_on FROM records")) == "2026-05-06"
    to(world, datetime(2026, 7, 1, 4, tzinfo=UTC) - timedelta(seconds=1))
    assert world.sweep().condemned == 0
    assert alarms_of(world.vault).overdue.past_quarter == 0
    # Its receipt says so: due again on July 1, it must be gone by the end of that quarter.
    assert Receipts(world.vault).answer(code_of(record.id)) == Kept("kept", date(2026, 9, 30))
    later = world.file()
    # Then nothing has been decided about it but how long records are kept at all.
    to(world, datetime(2026, 7, 1, 4, tzinfo=UTC))
    assert not sealed_off(world, record.id)
    assert world.sweep().condemned == 1
    world.assert_destroyed(record)
    world.assert_readable(later)


@on_sqlite
def test_what_is_kept_of_a_part_goes_when_it_is_due_and_another_sunset_waits_for_its_date(quick_world: World) -> None:
    """S2, P2: the default of another deadline, which nobody decided, does not take what was preserved until a date."""
    world = quick_world
    kept, other = world.file(), world.file()
    end_program(world)
    keep = [["2026-01-05", "2026-01-05"]]
    ordered(world, Action.PARTIAL, {**DEADLINE, "until": "2026-12-31", "keep": keep}, HEAD, COUNSEL)
    to(world, OVER)
    tick(world.vault)
    adopt(
        world.vault, sunset=Sunset(date(2026, 4, 1), date(2026, 5, 1), date(2026, 6, 1), "DESTROY", {"program": True})
    )
    late = world.file()
    to(world, datetime(2026, 6, 2, 4, tzinfo=UTC))
    assert "2026-06-01 is over; its outcome is DESTROY" in tick(world.vault)[0]
    assert (sealed_off(world, kept.id), sealed_off(world, late.id)) == (False, True)
    assert world.destroy(Cause.SUNSET).condemned == 1
    world.assert_readable(kept, other)
    # What has latched does not expire: it takes them as soon as nothing keeps them.
    to(world, datetime(2027, 1, 1, 5, tzinfo=UTC))
    assert sealed_off(world, kept.id)
    assert world.destroy(Cause.SUNSET).condemned == 2


@on_sqlite
def test_a_sunset_of_some_filing_periods_leaves_the_others_alone(quick_world: World) -> None:
    """S1: its scope. It is no end of the program, so what is filed later is retained (P3)."""
    world = quick_world
    early = world.file()
    world.advance(days=20)
    late, open_one = world.file(), world.open()
    adopt(world.vault, sunset=replace(SUNSET, scope={"filed": [["2026-01-01", "2026-01-10"]]}))
    ordered(world, Action.DESTROY_AT_SUNSET, DEADLINE, HEAD, COUNSEL)
    assert world.value(f"SELECT due_on FROM records WHERE id = '{world.file().id}'") > "2028"
    to(world, OVER)
    assert (sealed_off(world, early.id), sealed_off(world, late.id)) == (True, False)
    tick(world.vault)
    world.vault.catalogue.close()
    world.restart()
    done = world.destroy(Cause.SUNSET)
    # The third was never completed, and is given up as ever.
    assert (done.condemned, done.not_listed["not eligible"]) == (2, 2)
    world.assert_destroyed(early, open_one)
    world.assert_readable(late)
    assert world.value(f"SELECT due_on FROM records WHERE id = '{world.file().id}'") > "2028"


@on_sqlite
def test_a_sunset_destroys_under_the_order_that_decided_it_or_not_at_all(quick_world: World) -> None:
    """S4: the order's id goes into list, ledger and certificate, and is asked for again as records are condemned."""
    world = quick_world
    gone = world.file()
    end_program(world)
    decision = ordered(world, Action.DESTROY_AT_SUNSET, DEADLINE, HEAD, COUNSEL)
    to(world, OVER)
    tick(world.vault)
    frozen_without = freeze_sunset(world.vault)
    for forged in ("order_id = NULL", f"order_id = '{world.value('SELECT order_id FROM policies WHERE version = 2')}'"):
        world.run(f"UPDATE destructions SET {forged} WHERE id = '{frozen_without}'")
        with pytest.raises(OrderRefusedError, match="No sunset has latched under which"):
            carry_out(world.vault, frozen_without)
        with pytest.raises(RuleBrokenError):
            world.run(f"UPDATE destructions SET condemned_at = 1, abandoned_at = NULL WHERE id = '{frozen_without}'")
        world.restart()
        frozen_without = freeze_sunset(world.vault)
    recover_destructions(world.vault)
    done = world.destroy(Cause.SUNSET)
    assert (done.condemned, done.order_id) == (1, decision.id)
    world.assert_destroyed(gone)
    made = issue_certificate(world.vault, done.id)
    assert made.content["authority"]["order"] == decision.id
    assert {one["person"] for one in made.content["authority"]["approvers"]} == {HEAD, COUNSEL}
    key = f"{world.vault.signing.verifier}\n".encode()
    assert any("Approved by" in sentence for sentence in verify_certificate.verify(made.document, key))


def test_a_part_is_kept_by_when_it_was_filed(quick_world: World) -> None:
    """S2."""
    world = quick_world
    early = world.file()
    world.advance(days=20)
    late = world.file()
    end_program(world)
    keep = [["2026-01-20", "2026-01-31"]]
    ordered(world, Action.PARTIAL, {**DEADLINE, "until": "2030-01-01", "keep": keep}, HEAD, COUNSEL)
    to(world, OVER)
    assert (sealed_off(world, early.id), sealed_off(world, late.id)) == (True, False)
    tick(world.vault)
    assert world.destroy(Cause.SUNSET).condemned == 1
    world.assert_destroyed(early)
    world.assert_readable(late)


def test_no_default_fires_while_time_is_suspect(quick_world: World) -> None:
    """T5, S7: reading is refused all the same, for nothing is lost by that."""
    world = quick_world
    record = world.file()
    end_program(world)
    to(world, OVER)
    object.__setattr__(world.vault, "time", TimeSources({"object store": lambda: OVER - timedelta(days=9)}))
    with pytest.raises(TimeSuspectError):
        tick(world.vault)
    with world.vault.catalogue.read() as tx:
        assert load_marks(tx).suspect_since is not None
    assert events(world, "sunset latched") == []
    assert sealed_off(world, record.id)


def test_software_that_was_dead_at_the_deadline_says_what_was_missed(quick_world: World) -> None:
    """S7."""
    world = quick_world
    world.file()
    end_program(world)
    to(world, OVER + timedelta(days=40))
    world.restart()
    assert "It was over since 2026-03-09T04:00:00Z; Shredvault was not running." in tick(world.vault)[0]


def test_a_rebuilt_catalogue_knows_what_has_latched(quick_world: World) -> None:
    """S4, H12, T5."""
    world = quick_world
    record = world.file()
    end_program(world)
    to(world, OVER)
    tick(world.vault)
    uri = world.custodian.uri
    before = world.rows("SELECT deadline, ends_at, latched_at, outcome, order_id, kept_until FROM sunsets")
    world.vault.catalogue.close()
    world.database = world.databases.new(world.folder / "home")
    world.restart()
    rebuild(world.vault, [uri])
    assert world.rows("SELECT deadline, ends_at, latched_at, outcome, order_id, kept_until FROM sunsets") == before
    with world.vault.catalogue.read() as tx:
        assert OVER <= load_marks(tx).high_water <= world.clock.now()
    assert sealed_off(world, record.id)
    assert world.destroy(Cause.SUNSET).condemned == 1


@on_sqlite
def test_a_recorded_decision_to_destroy_keeps_nothing_from_then_on(quick_world: World) -> None:
    """P3, S2: though everything is held; replaced before the cut-off, it is taken back."""
    world = quick_world
    end_program(world)

    def due_in_days(record: Record) -> int:
        due, completed = world.rows(f"SELECT due_on, completed_at FROM records WHERE id = '{record.id}'")[0]
        assert completed is not None
        return (date.fromisoformat(due) - date(2026, 1, 5)).days

    before = world.file()
    hold_everything(world)
    # The default alone is nobody's decision.
    assert due_in_days(before) > 700
    ordered(world, Action.DESTROY_AT_SUNSET, DEADLINE, HEAD, COUNSEL)
    after = world.file()
    assert (due_in_days(before) > 700, due_in_days(after)) == (True, 29)
    assert decide_record(world.vault, world.center, after.id).due_on == date(2026, 1, 5)
    world.sweep()
    world.assert_readable(before, after)
    world.advance(seconds=1)
    ordered(world, Action.PRESERVE, {**DEADLINE, "until": "2026-06-30"}, HEAD, COUNSEL)
    assert due_in_days(world.file()) > 700
    with pytest.raises(RecordsAreKeptError):
        decide_record(world.vault, world.center, before.id)
    world.advance(seconds=1)
    order = ordered(world, Action.DESTROY_AT_SUNSET, DEADLINE, HEAD, COUNSEL)
    assert due_in_days(world.file()) == 29
    # One person alone cannot let stand again what was decided before, nor the default.
    with pytest.raises(OrderRefusedError, match="two people can replace it"):
        withdraw_order(world.vault, order.id, "Handed in by mistake.")
    assert due_in_days(world.file()) == 29
    # P1: a floor outlasts the thirty days, and no decision about an application hastens it.
    adopt(world.vault, floor_months=3)
    below = world.file()
    assert due_in_days(below) == (date(2026, 4, 6) - date(2026, 1, 5)).days
    with pytest.raises(RecordsAreKeptError):
        decide_record(world.vault, world.center, below.id)


def hold_everything(world: World) -> None:
    holds.place_hold(world.vault, Terms(Kind.COURT_ORDER, AUTHORITY, "2016-080306"), Scope(program=True), "counsel")


def test_after_the_end_nothing_is_kept_longer_than_it_must(quick_world: World) -> None:
    """P3: automatic after DESTROY; thirty days in all, and due at once when the application is decided."""
    world = quick_world
    before = world.file()
    with pytest.raises(RecordsAreKeptError):
        decide_record(world.vault, world.center, before.id)
    end_program(world)
    to(world, OVER)
    tick(world.vault)
    open_one, decided, undecided = world.open(), world.file(), world.file()
    with pytest.raises(RecordIncompleteError):
        decide_record(world.vault, world.center, open_one.id)
    with pytest.raises(ForbiddenError):
        decide_record(world.vault, world.reviewer, decided.id)
    for _ in range(2):
        assert decide_record(world.vault, world.center, decided.id).due_on == date(2026, 3, 9)
    assert events(world, "decided") == ["decided"]
    assert world.sweep().condemned == 1
    world.assert_destroyed(decided)
    to(world, OVER + timedelta(days=29, seconds=-1))
    world.sweep()
    world.assert_readable(undecided)
    to(world, OVER + timedelta(days=29))
    world.sweep()
    world.assert_destroyed(undecided)
