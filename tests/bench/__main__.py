"""`python -m tests.bench`: measures, prints, and writes the table into docs/benchmarks.md."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from rich.console import Console

from tests.bench import destruction, results, sealing, uploads
from tests.bench.results import Row

DOCUMENT: Final = Path(__file__).parents[2] / "docs/benchmarks.md"
MEASURES: Final[dict[str, Callable[..., Iterator[Row]]]] = {
    "sealing": sealing.measure,
    "uploads": uploads.measure_throughput,
    "memory": uploads.measure_memory,
    "destruction": destruction.measure,
}


def main() -> None:
    """Run what was asked for. Only a whole run is written down."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer runs and a tenth of the city; nothing is written")
    parser.add_argument("--only", choices=MEASURES, help="one measure; nothing is written")
    chosen = parser.parse_args()
    console = Console(highlight=False, soft_wrap=True, markup=False)
    for name, fact in results.machine():
        console.print(f"{name}: {fact}")
    rows: list[Row] = []
    begun = time.perf_counter()
    for name, measure in MEASURES.items():
        if chosen.only in {None, name}:
            for row in measure(quick=chosen.quick):
                if not rows or rows[-1].section != row.section:
                    console.print(f"\n{row.section}")
                console.print("  " + " | ".join(cell.strip("*") for cell in row.cells if cell))
                rows.append(row)
    seconds = time.perf_counter() - begun
    console.print(f"\n{seconds:.0f} s")
    if not chosen.quick and chosen.only is None:
        remark = f"Measured on {datetime.now(UTC).date().isoformat()} in one run of {seconds / 60:.1f} minutes."
        results.write_between_markers(DOCUMENT, results.render(rows, results.machine(), remark))
        console.print(f"Written to docs/{DOCUMENT.name}.")


if __name__ == "__main__":
    main()
