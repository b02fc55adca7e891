"""Scrubs and sweeps at the size of a city (`tests.bench.scale`)."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tests.bench.results import Ratios, Row
from tests.bench.scale import (
    FIRST_DUE,
    RECORDS_PER_DAY,
    Timing,
    city,
    destroy_timed,
    keystore_bytes_per_record,
    scatter_due,
)
from vault.clocks.clock import SimulatedClock
from vault.law.retention import Cause

__all__ = ["measure"]

CITY: Final = 900_000
TOWN: Final = 9_000
SCATTERED: Final = 10_000
QUICK_CITY: Final = 90_000
SCRUB_SECONDS_GOAL: Final = 2.0
SCRUB_RATIO_GOAL: Final = 1.5
DAY_SECONDS_GOAL: Final = 1.0
SCATTERED_SECONDS_GOAL: Final = 3.0
BYTES_PER_RECORD_GOAL: Final = 36


def measure(*, quick: bool) -> Iterator[Row]:
    """One large city, swept twice and then scrubbed; small ones before and after it, for the comparison."""
    small = [_scrub_of(TOWN) for _ in range(1 if quick else 3)]
    size = QUICK_CITY if quick else CITY
    # What the two sweeps destroy comes on top, so that the scrub meets the full number.
    count = size + RECORDS_PER_DAY + SCATTERED
    with TemporaryDirectory(prefix="bench-") as folder, city(Path(folder), count) as (vault, clock):
        bytes_per_record = keystore_bytes_per_record(vault, count)
        _go_to(clock, FIRST_DUE)
        day = destroy_timed(vault, Cause.SWEEP)
        scatter_due(vault, SCATTERED, FIRST_DUE)
        scattered = destroy_timed(vault, Cause.SWEEP)
        large = destroy_timed(vault, Cause.SCRUB)
    small += [_scrub_of(TOWN) for _ in range(1 if quick else 4)]
    assert (day.destroyed, scattered.destroyed, large.destroyed) == (RECORDS_PER_DAY, SCATTERED, size)
    yield from _scrub_rows(f"Scrub of {size:,} records against {TOWN:,}", large, small)
    sweeps = f"Sweeps out of {count:,} records"
    yield from _sweep_rows(sweeps, f"one day, {day.destroyed:,} records", day, DAY_SECONDS_GOAL)
    yield from _sweep_rows(sweeps, f"{scattered.destroyed:,} scattered records", scattered, SCATTERED_SECONDS_GOAL)
    yield Row(
        sweeps,
        "keystore, for each record",
        f"{bytes_per_record:.1f} bytes",
        "",
        f"{bytes_per_record:.1f} bytes",
        "",
        f"≤ {BYTES_PER_RECORD_GOAL} bytes",
        bytes_per_record <= BYTES_PER_RECORD_GOAL,
    )


def _scrub_of(count: int) -> Timing:
    with TemporaryDirectory(prefix="bench-") as folder, city(Path(folder), count) as (vault, _):
        return destroy_timed(vault, Cause.SCRUB)


def _go_to(clock: SimulatedClock, day: date) -> None:
    noon = datetime(day.year, day.month, day.day, 17, tzinfo=UTC)
    clock.advance(noon - clock.now())


def _scrub_rows(section: str, large: Timing, small: Sequence[Timing]) -> Iterator[Row]:
    """The parts of a scrub; the large one is compared with each of the small ones."""
    for what, goal_seconds, goal_ratio, part in (
        ("condemning transaction to death of the old master", SCRUB_SECONDS_GOAL, SCRUB_RATIO_GOAL, "condemn_to_death"),
        ("staging, mirroring, reading back, checking", None, None, "staging"),
        (
            "drawing up the order, accepting it, freezing the list: judging and hashing every record",
            None,
            None,
            "freeze",
        ),
    ):
        seconds = getattr(large, part)
        others = [getattr(timing, part) for timing in small]
        ratios = Ratios(tuple(seconds / other for other in others))
        met = None
        if goal_seconds is not None and goal_ratio is not None:
            met = seconds < goal_seconds and ratios.median <= goal_ratio
        yield Row(
            section,
            what,
            _ms(seconds),
            f"{_ms(statistics.median(others))} ({_ms(min(others))} to {_ms(max(others))})",
            f"{ratios.median:.2f}",
            ratios.spread,
            f"≤ {goal_ratio} and < {goal_seconds:.0f} s" if goal_seconds else "none",
            met,
        )


def _sweep_rows(section: str, what: str, timing: Timing, goal: float) -> Iterator[Row]:
    seconds = timing.freeze + timing.whole
    yield Row(
        section,
        what,
        f"{seconds:.2f} s",
        f"freezing {_ms(timing.freeze)}, staging {_ms(timing.staging)}, "
        f"condemning to death {_ms(timing.condemn_to_death)}",
        f"{seconds:.2f} s",
        "one run",
        f"< {goal:.0f} s",
        seconds < goal,
    )
    yield Row(
        section,
        f"{what}: bytes written",
        f"mirror {_mb(timing.mirror_bytes)}, catalogue {_mb(timing.catalogue_bytes)}",
        f"{timing.pages} key pages rewritten",
        _mb(timing.mirror_bytes + timing.catalogue_bytes),
        "",
        "none",
        None,
    )


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:,.0f} ms" if seconds >= 0.1 else f"{seconds * 1000:.1f} ms"


def _mb(count: int) -> str:
    return f"{count / 1e6:.2f} MB"
