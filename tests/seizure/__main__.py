"""`python -m tests.seizure`: the long game; prints its seed, and writes docs/seizure-report.md when played whole."""

import argparse
import os
import secrets
import shutil
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
from tests.seizure.report import FEWEST, SERVED_STAGE, Guesses, Tally, report
from tests.seizure.served_game import served_game
from tests.seizure.test_mutants import MUTANTS
from tests.seizure.theatre import STAGES, Theatre, theatre
from tests.vault.databases import Databases
from vault.trees import mirror

DOCUMENT = Path(__file__).parents[2] / "docs/seizure-report.md"
RECORDS = 10_000
A_GAME = 1000
COINS = 400
SHARES = (1, 0.1, 0.1, 0.1)
"""Destroyed records on each stage of `tests.seizure.theatre`, as parts of all."""
SERVED = (100, 12)
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
    tally = Tally(SERVED_STAGE)
    for number, size in enumerate(sizes):
        place = folder / str(number)
        with served_game(place, folder / "compiled", seed=seed + number, thorough=True) as played:
            played.workload.run(size)
            tally.add(played)
        shutil.rmtree(place)
        console.print(f"{tally.stage}: {tally}")
    return tally


def play_unserved(house: Theatre, name: str, records: int, seed: int, console: Console) -> Tally:
    """Games in this process on one stage, until so many records are destroyed."""
    tally = Tally(name)
    while tally.destroyed < records:
        size = min(A_GAME, records - tally.destroyed)
        place = house.folder / "game"
        databases, uri, storage = STAGES[name](house, place / "keys")
        with (
            timed_mirror(tally),
            game(place, databases, seed=seed + tally.games, uri=uri, storage=storage) as played,
        ):
            played.printed = not tally.games
            played.workload.run(size)
            tally.add(played)
        databases.clear()
        shutil.rmtree(place)
        console.print(f"{tally.stage}: {tally}")
    return tally


def catch(folder: Path, databases: Databases) -> dict[str, bool]:
    """Play every mutant; say whether its judge found it."""
    caught = {}
    for name, (name_of_judge, mutant) in sorted(MUTANTS.items()):
        with game(folder, databases) as played, pytest.MonkeyPatch.context() as patch:
            mutant(patch, played)
            caught[name] = name_of_judge in {finding.judge for finding in played.verdicts()}
        shutil.rmtree(folder)
    return caught


def catch_served(folder: Path, seed: int) -> dict[str, bool]:
    """Play one served vault with all faults at once; say whether the judge of each found something, and no other."""
    with served_game(folder / "faults", folder / "compiled", seed=seed, faults=SERVED_MUTANTS) as played:
        played.workload.brief()
        found = {finding.judge for finding in played.verdicts()}
    only = found <= {name_of_judge for name_of_judge, _ in SERVED_MUTANTS.values()}
    return {name: only and name_of_judge in found for name, (name_of_judge, _) in SERVED_MUTANTS.items()}


def toss(house: Theatre, coins: int, seed: int) -> Guesses:
    """Let the adversary guess, without and with a global index."""
    right = play(house.folder / "coins", house.files, trials=coins, seed=seed)
    with pytest.MonkeyPatch.context() as patch:
        add_global_index(patch)
        indexed = play(house.folder / "indexed", house.files, trials=coins, seed=seed)
    return Guesses(right, indexed, coins)


def main() -> None:
    """Play. Only a whole game is written down."""
    parser = argparse.ArgumentParser(prog="python -m tests.seizure", description=__doc__)
    parser.add_argument("--records", type=int, default=RECORDS, help="destroyed records to attack on the first stage")
    parser.add_argument("--seed", type=int, default=secrets.randbits(32))
    chosen = parser.parse_args()
    if os.geteuid() != 0:
        parser.error("the memory of processes that are not dumpable can be read by root only; be root")
    console = Console(highlight=False, soft_wrap=True, markup=False)
    console.print(f"seed {chosen.seed}")
    is_whole = chosen.records >= RECORDS
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(dir=memory()) as scratch, theatre(Path(scratch)) as house:
        tallies = [
            play_unserved(house, name, max(FEWEST, round(share * chosen.records)), chosen.seed, console)
            for name, share in zip(STAGES, SHARES, strict=True)
        ]
        served = house.folder / "served"
        tallies.append(play_served(served, SERVED if is_whole else SERVED[1:], chosen.seed, console))
        guesses = toss(house, min(COINS, chosen.records), chosen.seed)
        caught = catch(house.folder / "mutant", house.files) | catch_served(served, chosen.seed)
    text = report(tallies, guesses, caught, chosen.seed)
    console.print(text)
    for finding in [finding for tally in tallies for finding in tally.findings][:50]:
        console.print(finding)
    console.print(f"{time.monotonic() - begun:.0f} seconds")
    if is_whole:
        DOCUMENT.write_text(text, "utf-8")
        console.print(f"Written to docs/{DOCUMENT.name}.")
    parts: list[Tally | Guesses] = [*tallies, guesses]
    if any(part.is_lost or part.is_blind for part in parts) or not all(caught.values()):
        raise SystemExit(1)


def memory() -> Path | None:
    """A folder in memory where there is one: the disk's fsync would be most of the time."""
    there = Path("/dev/shm")
    return there if os.access(there, os.W_OK) else None


if __name__ == "__main__":
    main()
