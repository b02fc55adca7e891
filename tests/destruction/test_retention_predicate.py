"""The one predicate: every verdict, for both causes."""

from datetime import date, timedelta

import pytest

from tests.vault.holding import place_hold, release_hold
from tests.vault.world import Record, World
from vault.catalogue import Transaction
from vault.destruction.frozen_lists import forecast
from vault.law.retention import CONDEMNABLE, Cause, Predicate, Verdict, count_verdicts, judge, not_eligible


class Cast:
    """One record of each kind."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.destroyed, self.abandoned = world.file(), world.open()
        world.advance(days=800)
        world.sweep()
        self.due, self.due_held, self.due_released = world.file(), world.file(), world.file()
        self.late, self.late_held = world.open(), world.open()
        world.advance(days=740)
        self.young, self.young_held, self.receiving = world.file(), world.file(), world.open()
        self.receiving_held = world.open()
        held = [self.due_held, self.late_held, self.young_held, self.receiving_held]
        place_hold(world.vault, [r.id for r in held], "in-force")
        over = place_hold(world.vault, [self.due_released.id], "over").hold_id
        release_hold(world.vault, over, "counsel")

    def test(self, cause: Cause) -> Predicate:
        now = self.world.clock.now()
        return Predicate(cause, now.date(), now - timedelta(hours=72))

    def verdicts(self, tx: Transaction, cause: Cause) -> dict[str, str]:
        return {record_id: verdict for record_id, _, _, verdict in judge(tx, self.test(cause))}


@pytest.fixture
def cast(quick_world: World) -> Cast:
    return Cast(quick_world)


TABLE = [
    ("destroyed", Verdict.GONE, Verdict.GONE),
    ("abandoned", Verdict.GONE, Verdict.GONE),
    ("due", Verdict.DUE, Verdict.ORDERED),
    ("due_held", Verdict.HELD, Verdict.HELD),
    ("due_released", Verdict.DUE, Verdict.ORDERED),
    ("late", Verdict.GIVEN_UP, Verdict.GIVEN_UP),
    ("late_held", Verdict.HELD, Verdict.HELD),
    ("young", None, Verdict.ORDERED),
    ("young_held", None, Verdict.HELD),
    ("receiving", None, Verdict.RECEIVING),
    ("receiving_held", None, Verdict.HELD),
]


def test_every_verdict(cast: Cast) -> None:
    """None: not even a candidate."""
    with cast.world.vault.catalogue.read() as tx:
        sweep, scrub = cast.verdicts(tx, Cause.SWEEP), cast.verdicts(tx, Cause.SCRUB)
        not_swept = set(not_eligible(tx, cast.test(Cause.SWEEP), range(1, 100)))
        not_scrubbed = set(not_eligible(tx, cast.test(Cause.SCRUB), range(1, 100)))
    for name, swept, scrubbed in TABLE:
        record: Record = getattr(cast, name)
        assert sweep.get(record.id) == swept, name
        assert scrub.get(record.id) == scrubbed, name
        place = cast.world.place(record)
        assert (place not in not_swept) is (swept in CONDEMNABLE), name
        assert (place not in not_scrubbed) is (scrubbed in CONDEMNABLE), name


def test_forecast_counts_the_living(cast: Cast) -> None:
    vault = cast.world.vault
    sweep, scrub = forecast(vault, Cause.SWEEP), forecast(vault, Cause.SCRUB)
    assert sweep.would_die == {"due": 2, "given up": 1}
    assert sweep.would_live == {"held": 4, "not eligible": 1, "receiving": 1}
    assert scrub.would_die == {"ordered": 3, "given up": 1}
    assert scrub.would_live == {"held": 4, "receiving": 1}
    assert cast.world.sweep().condemned == 3
    assert forecast(vault, Cause.SWEEP).would_die == {}


def test_a_forecast_changes_nothing(cast: Cast) -> None:
    before = cast.world.rows("SELECT * FROM journal"), cast.world.rows("SELECT * FROM cohorts")
    forecast(cast.world.vault, Cause.SCRUB)
    assert before == (cast.world.rows("SELECT * FROM journal"), cast.world.rows("SELECT * FROM cohorts"))


@pytest.mark.parametrize(("offset", "verdict"), [(-1, None), (0, Verdict.DUE), (1, Verdict.DUE)])
def test_due_is_from_the_due_date_on(quick_world: World, offset: int, verdict: Verdict | None) -> None:
    record = quick_world.file()
    today = date(2028, 1, 6) + timedelta(days=offset)
    test = Predicate(Cause.SWEEP, today, quick_world.clock.now() - timedelta(hours=72))
    with quick_world.vault.catalogue.read() as tx:
        assert {r: v for r, _, _, v in judge(tx, test)}.get(record.id) == verdict


def test_given_up_is_strictly_after_the_hours(quick_world: World) -> None:
    quick_world.open()
    (opened,) = quick_world.rows("SELECT opened_at FROM records")[0]
    at = timedelta(microseconds=opened)
    for later, verdict in ((timedelta(0), Verdict.RECEIVING), (timedelta(microseconds=1), Verdict.GIVEN_UP)):
        from_epoch = quick_world.clock.now().replace(
            year=1970, month=1, day=1, hour=0, minute=0, second=0, microsecond=0
        )
        test = Predicate(Cause.SCRUB, date(2026, 1, 1), from_epoch + at + later)
        with quick_world.vault.catalogue.read() as tx:
            assert count_verdicts(tx, test) == {verdict.value: 1}


def test_destroyed_stays_gone_through_every_later_change(cast: Cast) -> None:
    world = cast.world
    for _ in range(2):
        world.scrub()
        world.assert_destroyed(cast.destroyed)
    with world.vault.catalogue.read() as tx:
        assert cast.verdicts(tx, Cause.SCRUB)[cast.destroyed.id] == Verdict.GONE
        assert cast.verdicts(tx, Cause.SCRUB)[cast.due.id] == Verdict.GONE
        assert cast.verdicts(tx, Cause.SCRUB)[cast.due_held.id] == Verdict.HELD
