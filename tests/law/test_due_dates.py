"""When records fall due (T1 to T4), and the limits of a policy. Pure."""

import calendar
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault.clocks.clock import civil_date
from vault.errors import PolicyError
from vault.law.plausible import last_completion
from vault.law.policy import Policy, due_on


@pytest.mark.parametrize(
    ("completed", "months", "due"),
    [
        ("2016-02-29", 24, "2018-03-01"),
        ("2016-02-28", 24, "2018-03-01"),
        ("2016-02-29", 48, "2020-03-01"),
        ("2016-02-28", 48, "2020-02-29"),
        ("2014-02-28", 24, "2016-02-29"),
        ("2015-12-31", 24, "2018-01-01"),
        ("2016-01-01", 24, "2018-01-02"),
        ("2026-01-31", 1, "2026-03-01"),
        ("2024-01-31", 1, "2024-03-01"),
        ("2026-08-31", 6, "2027-03-01"),
        ("2026-10-31", 1, "2026-12-01"),
        ("2026-12-15", 1, "2027-01-16"),
        ("2026-11-30", 120, "2036-12-01"),
        ("1999-12-31", 2, "2000-03-01"),
        ("2099-12-31", 2, "2100-03-01"),
    ],
)
def test_due_on(completed: str, months: int, due: str) -> None:
    assert due_on(date.fromisoformat(completed), months) == date.fromisoformat(due)


DATES = st.dates(date(2000, 1, 1), date(2150, 1, 1))
MONTHS = st.integers(1, 120)


@given(DATES, MONTHS)
def test_due_on_is_the_same_day_or_the_months_last_plus_one(completed: date, months: int) -> None:
    before = due_on(completed, months) - timedelta(days=1)
    assert (before.year * 12 + before.month) - (completed.year * 12 + completed.month) == months
    assert before.day == min(completed.day, calendar.monthrange(before.year, before.month)[1])


@given(DATES, MONTHS, st.integers(-70, 70))
def test_whoever_completed_by_the_last_completion_is_due_and_nobody_later(day: date, months: int, by: int) -> None:
    last = last_completion(day, months)
    completed = last + timedelta(days=by)
    assert (due_on(completed, months) <= day) is (by <= 0)


@given(DATES, DATES, MONTHS)
def test_who_completes_later_is_never_due_earlier(one: date, two: date, months: int) -> None:
    first, second = sorted((one, two))
    assert due_on(first, months) <= due_on(second, months)
    assert due_on(first, months) < due_on(first, months + 1)


@pytest.mark.parametrize(
    ("instant", "zone", "day"),
    [
        ("2017-01-01T04:59:59Z", "America/New_York", "2016-12-31"),
        ("2017-01-01T05:00:00Z", "America/New_York", "2017-01-01"),
        ("2026-07-01T03:59:59Z", "America/New_York", "2026-06-30"),
        ("2026-07-01T04:00:00Z", "America/New_York", "2026-07-01"),
        ("2026-03-08T06:59:59Z", "America/New_York", "2026-03-08"),
        ("2026-11-01T03:59:59Z", "America/New_York", "2026-10-31"),
        ("2026-11-02T04:59:59Z", "America/New_York", "2026-11-01"),
        ("2026-01-01T09:59:59Z", "Pacific/Kiritimati", "2026-01-01"),
        ("2026-01-01T10:00:00Z", "Pacific/Kiritimati", "2026-01-02"),
        ("2026-01-01T10:59:59Z", "Pacific/Pago_Pago", "2025-12-31"),
        ("2024-02-29T18:29:59Z", "Asia/Kolkata", "2024-02-29"),
        ("2024-02-29T18:30:00Z", "Asia/Kolkata", "2024-03-01"),
    ],
)
def test_civil_date(instant: str, zone: str, day: str) -> None:
    assert civil_date(datetime.fromisoformat(instant), ZoneInfo(zone)) == date.fromisoformat(day)


ZONES = st.sampled_from(["Pacific/Kiritimati", "America/New_York", "Pacific/Pago_Pago", "Australia/Lord_Howe", "UTC"])


@given(st.datetimes(datetime(2020, 1, 1), datetime(2050, 1, 1), timezones=st.just(UTC)), ZONES)  # noqa: DTZ001
def test_a_civil_date_ends_at_local_midnight(instant: datetime, zone: str) -> None:
    day = civil_date(instant, ZoneInfo(zone))
    midnight = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone))
    assert midnight <= instant.astimezone(ZoneInfo(zone))
    assert civil_date(midnight.astimezone(UTC), ZoneInfo(zone)) == day
    assert civil_date(midnight.astimezone(UTC) - timedelta(microseconds=1), ZoneInfo(zone)) == day - timedelta(days=1)


@pytest.mark.parametrize(
    "zone", ["", "Mars/Olympus", "../../etc/passwd", "America", "/etc/localtime", "x\0y", "New York"]
)
def test_a_policy_needs_a_time_zone(zone: str) -> None:
    with pytest.raises(PolicyError):
        Policy(1, zone)


@pytest.mark.parametrize(("months", "hours"), [(0, 72), (121, 72), (-1, 72), (24, 0), (24, 721)])
def test_a_policy_has_limits(months: int, hours: int) -> None:
    with pytest.raises(PolicyError):
        Policy(1, "UTC", months, hours)


@pytest.mark.parametrize(("months", "hours"), [(1, 1), (120, 720)])
def test_a_policy_reaches_its_limits(months: int, hours: int) -> None:
    assert Policy(1, "UTC", months, hours).zone.key == "UTC"
