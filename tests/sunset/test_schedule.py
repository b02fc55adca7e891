"""The sunset's calendar and decisions (S1 to S6), without a vault."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from vault.errors import OrderRefusedError
from vault.law.policy import Sunset
from vault.law.schedule import (
    Decision,
    end_of,
    latest_cut_off,
    next_statement,
    notice_due,
    outcome_of,
    require_decision,
)

NEW_YORK = ZoneInfo("America/New_York")
SUNSET = Sunset(date(2016, 9, 1), date(2016, 12, 20), date(2016, 12, 31), "DESTROY", {"program": True})
OPEN = datetime(2016, 12, 7, 15, tzinfo=UTC)
DEADLINE: dict[str, Any] = {"deadline": "2016-12-31"}
PRESERVE = {**DEADLINE, "until": "2018-12-31"}
PARTIAL = {**PRESERVE, "keep": [["2015-01-01", "2015-06-30"], ["2016-02-29", "2016-02-29"]]}


@pytest.mark.parametrize(
    ("day", "zone", "end"),
    [
        ("2016-12-31", "America/New_York", "2017-01-01T05:00"),
        ("2026-03-08", "America/New_York", "2026-03-09T04:00"),
        ("2026-11-01", "America/New_York", "2026-11-02T05:00"),
        ("2022-12-31", "Pacific/Kiritimati", "2022-12-31T10:00"),
        ("2022-12-31", "Pacific/Pago_Pago", "2023-01-01T11:00"),
        ("2024-02-29", "UTC", "2024-03-01T00:00"),
        # The next day begins at 01:00, when the clocks are moved at midnight.
        ("2018-11-03", "America/Sao_Paulo", "2018-11-04T03:00"),
    ],
)
def test_a_deadline_is_over_when_the_next_day_begins(day: str, zone: str, end: str) -> None:
    """T4."""
    assert end_of(date.fromisoformat(day), ZoneInfo(zone)) == datetime.fromisoformat(end).replace(tzinfo=UTC)


def test_the_cut_off_leaves_time_for_three_destructions_and_two_days() -> None:
    """S3."""
    deadline = datetime(2017, 1, 1, 5, tzinfo=UTC)
    assert latest_cut_off(deadline, timedelta(hours=4)) == datetime(2016, 12, 29, 17, tzinfo=UTC)


@pytest.mark.parametrize(
    ("today", "given", "notice"),
    [
        ("2016-10-01", None, None),
        ("2016-10-02", None, 90),
        ("2016-10-03", 90, None),
        ("2016-12-01", 90, 30),
        ("2016-12-24", 30, 7),
        ("2016-12-30", 7, 1),
        ("2016-12-31", 1, None),
        # The nearest one alone, when several were missed.
        ("2016-12-28", None, 7),
        ("2016-12-31", None, 1),
        ("2017-01-01", None, None),
    ],
)
def test_notices(today: str, given: int | None, notice: int | None) -> None:
    """S6."""
    assert notice_due(SUNSET.deadline, date.fromisoformat(today), given) == notice


def test_statements_are_monthly() -> None:
    """S5."""
    assert next_statement(date(2017, 1, 1)) == date(2017, 2, 1)
    assert next_statement(date(2017, 1, 31)) == date(2017, 2, 28)


def decision(
    name: str, action: str, scope: dict[str, Any], accepted: datetime, effective: datetime | None = None
) -> Decision:
    return Decision(name, action, scope, accepted, effective or accepted)


def test_the_last_decision_before_the_cut_off_stands_and_else_the_default() -> None:
    """S2, S3."""
    cut_off = datetime(2016, 12, 21, 5, tzinfo=UTC)
    one = decision("one", "preserve", PRESERVE, OPEN)
    two = decision("two", "destroy-at-sunset", DEADLINE, OPEN + timedelta(days=1))
    at_cut_off = decision("late", "preserve", PRESERVE, cut_off)
    just_in_time = decision("just", "preserve", PRESERVE, cut_off - timedelta(microseconds=1))
    cooling = decision("cooling", "preserve", PRESERVE, OPEN, cut_off + timedelta(hours=1))
    other = decision("other", "preserve", {**PRESERVE, "deadline": "2017-12-31"}, OPEN)
    assert (outcome_of(SUNSET, NEW_YORK, []).name, outcome_of(SUNSET, NEW_YORK, []).order_id) == ("DESTROY", None)
    for given, name, order_id in [
        ([one], "PRESERVE", "one"),
        ([one, two], "DESTROY", "two"),
        ([two, one], "DESTROY", "two"),
        ([two, just_in_time], "PRESERVE", "just"),
        ([two, at_cut_off], "DESTROY", "two"),
        ([cooling], "DESTROY", None),
        ([other], "DESTROY", None),
    ]:
        outcome = outcome_of(SUNSET, NEW_YORK, given)
        assert (outcome.name, outcome.order_id) == (name, order_id)


def test_a_part_is_kept_by_filing_periods_in_the_programs_zone() -> None:
    """S2."""
    outcome = outcome_of(SUNSET, NEW_YORK, [decision("one", "partial", PARTIAL, OPEN)])
    assert outcome.kept == (
        (datetime(2015, 1, 1, 5, tzinfo=UTC), datetime(2015, 7, 1, 4, tzinfo=UTC)),
        (datetime(2016, 2, 29, 5, tzinfo=UTC), datetime(2016, 3, 1, 5, tzinfo=UTC)),
    )
    assert outcome.kept_until == datetime(2019, 1, 1, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("action", "scope", "at", "why"),
    [
        ("preserve", PRESERVE, OPEN, None),
        ("destroy-at-sunset", DEADLINE, OPEN, None),
        ("partial", PARTIAL, OPEN, None),
        ("preserve", PRESERVE, datetime(2016, 8, 31, 12, tzinfo=UTC), "review opens"),
        ("preserve", PRESERVE, datetime(2016, 12, 21, 4, 59, tzinfo=UTC), None),
        ("preserve", PRESERVE, datetime(2016, 12, 21, 5, tzinfo=UTC), "cut off"),
        ("preserve", {**PRESERVE, "deadline": "2016-12-30"}, OPEN, "no sunset"),
        ("preserve", {**PRESERVE, "until": "2016-12-31"}, OPEN, "scope"),
        ("preserve", {**PRESERVE, "until": "when we like"}, OPEN, "scope"),
        ("preserve", DEADLINE, OPEN, "scope"),
        ("destroy-at-sunset", PRESERVE, OPEN, "scope"),
        ("partial", {**PARTIAL, "keep": []}, OPEN, "scope"),
        ("partial", {**PARTIAL, "keep": [["2015-06-30", "2015-01-01"]]}, OPEN, "scope"),
        # Never by a personal attribute.
        ("partial", {**PARTIAL, "name": "Smith"}, OPEN, "scope"),
        ("partial", {**PARTIAL, "keep": [["Smith", "Smith"]]}, OPEN, "scope"),
    ],
)
def test_which_decisions_are_taken(action: str, scope: dict[str, Any], at: datetime, why: str | None) -> None:
    """S1, S2."""
    if why is None:
        require_decision(SUNSET, NEW_YORK, action, scope, at)
        return
    with pytest.raises(OrderRefusedError, match=why):
        require_decision(SUNSET, NEW_YORK, action, scope, at)


def test_a_policy_without_sunset_takes_none() -> None:
    with pytest.raises(OrderRefusedError, match="no sunset"):
        require_decision(None, NEW_YORK, "preserve", PRESERVE, OPEN)
