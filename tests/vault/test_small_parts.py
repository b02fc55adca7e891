"""Ids, counts in sentences, and the clock of the tests."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from vault.clocks.clock import SimulatedClock, SystemClock
from vault.ids import base32, is_id, new_id
from vault.wording import number_of


@given(st.text(max_size=40))
def test_few_texts_are_ids(text: str) -> None:
    assert is_id(text) is (len(text) == 26 and set(text) <= set("0123456789abcdefghjkmnpqrstvwxyz"))
    assert is_id(new_id())
    assert not is_id(new_id() + "\n")


@given(st.integers(0, 2**60 - 1))
def test_base32_can_be_read_back(number: int) -> None:
    digits = "0123456789abcdefghjkmnpqrstvwxyz"
    assert sum(digits.index(c) * 32**n for n, c in enumerate(reversed(base32(number, 12)))) == number


def test_counts_are_told_in_english() -> None:
    assert [number_of(2, noun) for noun in ("day", "copy", "record", "entry")] == [
        "2 days",
        "2 copies",
        "2 records",
        "2 entries",
    ]
    assert (number_of(1, "day", "is", "are"), number_of(0, "day", "is", "are")) == ("1 day is", "0 days are")


def test_the_simulated_clock_runs_and_is_moved() -> None:
    clock = SimulatedClock(datetime(2030, 1, 1, tzinfo=UTC))
    first = clock.now()
    assert datetime(2030, 1, 1, tzinfo=UTC) <= first < datetime(2030, 1, 1, 0, 1, tzinfo=UTC)
    clock.advance(timedelta(days=2))
    assert clock.now() - first >= timedelta(days=2)
    assert SystemClock().now().utcoffset() == timedelta(0)
