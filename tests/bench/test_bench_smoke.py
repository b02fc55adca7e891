"""The benchmarks still work, on tiny sizes; what they measure is not looked at."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from tests.bench import results, scale, sealing
from vault.law.retention import Cause


def test_a_small_city_is_swept_and_scrubbed(tmp_path: Path) -> None:
    with scale.city(tmp_path, 40, per_day=10) as (vault, clock):
        assert scale.keystore_bytes_per_record(vault, 40) > 32
        clock.advance(timedelta(days=(scale.FIRST_DUE - scale.START.date()).days))
        day = scale.destroy_timed(vault, Cause.SWEEP)
        scale.scatter_due(vault, 7, scale.FIRST_DUE)
        scattered = scale.destroy_timed(vault, Cause.SWEEP)
        rest = scale.destroy_timed(vault, Cause.SCRUB)
    assert (day.destroyed, scattered.destroyed, rest.destroyed) == (10, 7, 23)
    assert day.pages == 1
    assert day.catalogue_bytes > 0


def test_both_ways_of_sealing_run() -> None:
    sealing._raw(bytes(70_000))()
    sealing._sealing(bytes(70_000))()


def test_only_what_is_between_the_markers_is_replaced(tmp_path: Path) -> None:
    document = tmp_path / "benchmarks.md"
    document.write_text(f"by hand\n{results.BEGIN}\nold\n{results.END}\nby hand too\n", "utf-8")
    ratios = results.interleaved([1.0, 3.0, 4.0], [2.0, 2.0, 2.0])
    row = results.Row("Part", "measure", "3/s", "2/s", f"{ratios.median:.2f}", ratios.spread, "≥ 0.9", met=True)
    results.write_between_markers(document, results.render([row], results.machine(), "Measured."))
    text = document.read_text("utf-8")
    assert text.startswith("by hand\n")
    assert text.endswith("\nby hand too\n")
    assert "| measure | 3/s | 2/s | 1.50 | 0.50 to 2.00 (3 pairs) | ≥ 0.9 | met |" in text
    assert "old" not in text


def test_a_document_without_markers_is_left_alone(tmp_path: Path) -> None:
    document = tmp_path / "benchmarks.md"
    document.write_text("by hand\n", "utf-8")
    with pytest.raises(ValueError, match="markers"):
        results.write_between_markers(document, "table")
    assert document.read_text("utf-8") == "by hand\n"
