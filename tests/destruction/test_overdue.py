"""By when what is due must be gone (P1, T4), and when a date is over (T1, T2, T3)."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from tests.vault.world import World
from vault.clocks.clock import civil_date
from vault.destruction.overdue import Overdue, count_overdue, last_day, limit_day, overdue_of
from vault.law.policy import GoneBy, due_on


@pytest.mark.parametrize(
    ("due", "rules", "last"),
    [
        ("2026-01-01", GoneBy(), "2026-03-31"),
        ("2026-03-31", GoneBy(), "2026-03-31"),
        ("2026-04-01", GoneBy(), "2026-06-30"),
        ("2026-08-15", GoneBy(), "2026-09-30"),
        # A Sunday, and the end of a year on a Saturday and on a Sunday: nothing moves.
        ("2027-01-31", GoneBy(), "2027-03-31"),
        ("2022-10-01", GoneBy(), "2022-12-31"),
        ("2016-12-30", GoneBy(), "2016-12-31"),
        ("2023-12-31", GoneBy(), "2023-12-31"),
        # The months after due are the limit in any case.
        ("2026-01-01", GoneBy(months_after_due=1), "2026-02-01"),
        ("2026-01-31", GoneBy(months_after_due=1), "2026-02-28"),
        ("2024-01-31", GoneBy(months_after_due=1), "2024-02-29"),
        ("2025-08-31", GoneBy(end_of_quarter=False), "2026-02-28"),
        ("2026-03-01", GoneBy(end_of_quarter=False), "2026-09-01"),
    ],
)
def test_the_last_day(due: str, rules: GoneBy, last: str) -> None:
    """P1."""
    assert last_day(date.fromisoformat(due), rules) == date.fromisoformat(last)
    assert last_day(date.fromisoformat(due), rules) <= limit_day(date.fromisoformat(due), rules)


def test_a_record_is_overdue_when_its_last_day_is_over() -> None:
    """T4: on or before D means before the next day begins."""
    due = {date(2026, 2, 1): 3, date(2025, 9, 1): 2, date(2025, 5, 1): 1}
    assert count_overdue(due, date(2026, 3, 31), GoneBy()) == Overdue(3, 3, date(2026, 3, 31))
    assert count_overdue(due, date(2026, 4, 1), GoneBy()) == Overdue(6, 3, None)
    assert count_overdue({}, date(2026, 4, 1), GoneBy()) == Overdue(0, 0, None)


@pytest.mark.parametrize(
    ("instant", "zone", "day"),
    [
        # T4: December 31 2016 in New York ends at 05:00 UTC.
        ("2017-01-01T04:59:59", "America/New_York", "2016-12-31"),
        ("2017-01-01T05:00:00", "America/New_York", "2017-01-01"),
        # Zones far from UTC, on both sides of the date line.
        ("2026-03-31T09:59:59", "Pacific/Kiritimati", "2026-03-31"),
        ("2026-03-31T10:00:00", "Pacific/Kiritimati", "2026-04-01"),
        ("2026-04-01T10:59:59", "Pacific/Pago_Pago", "2026-03-31"),
        ("2026-04-01T11:00:00", "Pacific/Pago_Pago", "2026-04-01"),
        ("2026-03-31T18:15:00", "Asia/Kathmandu", "2026-04-01"),
        ("2026-03-31T18:14:59", "Asia/Kathmandu", "2026-03-31"),
        # Clocks are moved at 02:00: midnight is before, and the next midnight comes an hour earlier or later.
        ("2026-03-08T04:59:59", "America/New_York", "2026-03-07"),
        ("2026-03-09T03:59:59", "America/New_York", "2026-03-08"),
        ("2026-03-09T04:00:00", "America/New_York", "2026-03-09"),
        ("2026-11-02T04:59:59", "America/New_York", "2026-11-01"),
        ("2026-11-02T05:00:00", "America/New_York", "2026-11-02"),
        # Where the clocks are moved at midnight there is no 00:00: the day begins at 01:00.
        ("2018-11-04T02:59:59", "America/Sao_Paulo", "2018-11-03"),
        ("2018-11-04T03:00:00", "America/Sao_Paulo", "2018-11-04"),
    ],
)
def test_a_civil_date_is_one_of_the_programs_zone(instant: str, zone: str, day: str) -> None:
    """T1, T2."""
    at = datetime.fromisoformat(instant).replace(tzinfo=UTC)
    assert civil_date(at, ZoneInfo(zone)) == date.fromisoformat(day)


def test_the_same_instant_falls_due_on_different_days_in_different_zones() -> None:
    """T2, T3: a completion on February 29 in one zone is one on March 1 in another."""
    at = datetime(2024, 3, 1, 2, tzinfo=UTC)
    assert due_on(civil_date(at, ZoneInfo("America/New_York")), 12) == date(2025, 3, 1)
    assert due_on(civil_date(at, ZoneInfo("Pacific/Kiritimati")), 12) == date(2025, 3, 2)


def test_overdue_records_are_counted_until_they_are_gone(quick_world: World) -> None:
    """P1."""
    world = quick_world

    def counted() -> Overdue:
        with world.vault.catalogue.read() as tx:
            return overdue_of(tx, world.vault.clock.now())

    world.file()
    world.file()
    assert counted() == Overdue(0, 0, None)
    # Completed on January 5 2026, due on January 6 2028.
    world.advance(days=740)
    assert counted() == Overdue(0, 0, date(2028, 3, 31))
    world.advance(days=80)
    assert counted() == Overdue(2, 0, None)
    world.advance(days=100)
    assert counted() == Overdue(2, 2, None)
    world.sweep()
    assert counted() == Overdue(0, 0, None)
