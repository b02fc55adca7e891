"""`python -m tests.seizure`: the long game; prints its seed, and writes docs/seizure-report.md when played whole."""

import argparse
import os
import secrets
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from rich.console import Console

from tests.seizure.distinguishing import add_global_index, play
from tests.seizure.faults import SERVED_MUTANTS
from tests.seizure.game import game
from tests.seizure.report import Guesses, Tally, report
from tests.seizure.served_game import served_game
from tests.seizure.test_mutants import MUTANTS
from tests.vault.databases import Files, blank_file
from vault import mirror

DOCUMENT = Path(__file__).parents[2] / "docs/seizure-report.md"
RECORDS = 10_000
A_GAME = 500
COINS = 400
SERVED = (200, 12, 12)
"""Destroyed records in each served vault, about; each has a seed of its own, and so other deaths."""


@contextmanager
def timed_mirror(tally: Tally) -> Iterator[None]:
    """Time what is spent in writing and reading back packs."""
    write, read_back = mirror.write, mirror.read_back

    def timed_write(*inputs: object) -> object:
        begun = time.perf_counter()
        try:
            return write(*inputs)  # type: ignore[arg-type]
        finally:
            tally.spent["mirror"] += time.perf_counter() - begun

    def timed_read(*inputs: object) -> object:
        begun = time.perf_counter()
        try:
            return read_back(*inputs)  # type: ignore[arg-type]
        finally:
            tally.spent["mirror"] += time.perf_counter() - begun

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mirror, "write", timed_write)
        patch.setattr(mirror, "read_back", timed_read)
        yield


def play_served(folder: Path, sizes: tuple[int, ...], seed: int, console: Console) -> Tally:
    """Games with real processes, of which one at least has a hold released and the store killed alone."""
    tally = Tally()
    for number, size in enumerate(sizes):
        with served_game(folder / str(number), folder / "compiled", seed=seed + number, thorough=True) as played:
            played.workload.run(size)
            tally.add(played)
        console.print(f"served: {tally.destroyed:,} destroyed, {tally.opened} opened, {len(tally.findings)} findings")
    return tally


def play_unserved(folder: Path, databases: Files, records: int, seed: int, console: Console) -> Tally:
    """Games in this process, until so many records are destroyed."""
    tally = Tally()
    while tally.destroyed < records:
        size = min(A_GAME, records - tally.destroyed)
        place = folder / f"game-{tally.games}"
        with timed_mirror(tally), game(place, databases, seed=seed + tally.games) as played:
            played.workload.run(size)
            tally.add(played)
        console.print(f"{tally.destroyed:,} destroyed, {tally.opened} opened, {len(tally.findings)} findings")
    return tally


def catch(folder: Path, databases: Files) -> dict[str, bool]:
    """Play every mutant; say whether its judge found it."""
    caught = {}
    for number, (name, (name_of_judge, mutant)) in enumerate(sorted(MUTANTS.items())):
        with game(folder / str(number), databases) as played, pytest.MonkeyPatch.context() as patch:
            mutant(patch, played)
            caught[name] = name_of_judge in {finding.judge for finding in played.verdicts()}
    return caught


def catch_served(folder: Path, seed: int) -> dict[str, bool]:
    """Play one served vault with all faults at once; say whether the judge of each found something, and no other."""
    with served_game(folder / "faults", folder / "compiled", seed=seed, faults=SERVED_MUTANTS) as played:
        played.workload.brief()
        found = {finding.judge for finding in played.verdicts()}
    only = found <= {name_of_judge for name_of_judge, _ in SERVED_MUTANTS.values()}
    return {name: only and name_of_judge in found for name, (name_of_judge, _) in SERVED_MUTANTS.items()}


def main() -> None:
    """Play. Only a whole game is written down."""
    parser = argparse.ArgumentParser(prog="python -m tests.seizure", description=__doc__)
    parser.add_argument("--records", type=int, default=RECORDS, help="destroyed records to attack")
    parser.add_argument("--seed", type=int, default=secrets.randbits(32))
    chosen = parser.parse_args()
    if os.geteuid() != 0:
        parser.error("the memory of processes that are not dumpable can be read by root only; be root")
    console = Console(highlight=False, soft_wrap=True, markup=False)
    console.print(f"seed {chosen.seed}")
    coins = min(COINS, chosen.records)
    is_whole = chosen.records >= RECORDS
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        databases = Files(blank_file(folder / "blank.db"))
        served = play_served(folder / "served", SERVED if is_whole else SERVED[1:2], chosen.seed, console)
        played = play_unserved(folder, databases, chosen.records - served.destroyed, chosen.seed, console)
        right = play(folder / "coins", databases, trials=coins, seed=chosen.seed)
        with pytest.MonkeyPatch.context() as patch:
            add_global_index(patch)
            indexed = play(folder / "indexed", databases, trials=coins, seed=chosen.seed)
        guesses = Guesses(right, indexed, coins)
        caught = catch(folder / "mutants", databases) | catch_served(folder / "served", chosen.seed)
    text = report(played, served, guesses, caught, chosen.seed)
    console.print(text)
    for finding in (*played.findings, *served.findings)[:50]:
        console.print(finding)
    if is_whole:
        DOCUMENT.write_text(text, "utf-8")
        console.print(f"Written to docs/{DOCUMENT.name}.")
    parts = (played, served, guesses)
    if any(part.is_lost or part.is_blind for part in parts) or not all(caught.values()):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
