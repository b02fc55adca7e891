"""`python -m tests.seizure`: the long game; prints its seed, and writes docs/seizure-report.md when played whole."""

import argparse
import secrets
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from rich.console import Console

from tests.seizure.bounds import clopper_pearson
from tests.seizure.distinguishing import add_global_index, play
from tests.seizure.game import game
from tests.seizure.judges import JUDGES, judge
from tests.seizure.test_mutants import MUTANTS
from tests.vault.databases import Files, blank_file
from vault import mirror

DOCUMENT = Path(__file__).parents[2] / "docs/seizure-report.md"
RECORDS = 10_000
A_GAME = 500
COINS = 400
PHASES = {
    "freeze": ("freeze",),
    "rewrite": ("intent", "stage", "condemn"),
    "mirror": ("mirror",),
    "fence": ("fence",),
    "custodian": ("create master", "destroy master"),
    "certificate": ("record",),
}


@dataclass
class Tally:
    """What all games together gave."""

    destroyed: int = 0
    opened: int = 0
    living: int = 0
    unreadable: int = 0
    control: int = 0
    games: int = 0
    recorded: int = 0
    pack_bytes: int = 0
    findings: list[str] = field(default_factory=list)
    spent: dict[str, float] = field(default_factory=lambda: defaultdict(float))


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


def play_one(folder: Path, databases: Files, seed: int, size: int, tally: Tally) -> None:
    """One game with every judge, and its positive control."""
    with game(folder, databases, seed=seed) as played:
        played.workload.run(size)
        seizure = played.seize()
        spoils = seizure.attack()
        found = judge(seizure, spoils)
        workload = played.workload
        tally.findings += [f"{finding.judge}: {finding.what}" for finding in found]
        tally.games += 1
        tally.destroyed += len(workload.destroyed)
        tally.opened += sum(record.id in spoils.opened for record in workload.destroyed)
        tally.living += len(workload.living)
        tally.unreadable += sum("cannot be read" in finding.what for finding in found)
        control = seizure.attack(seizure.old_root_keys())
        tally.control += sum(record.id in control.opened for record in workload.destroyed)
        tally.recorded += played.recorder.recording.bytes_seen
        tally.pack_bytes += workload.mirror_bytes
        for step, seconds in workload.spent.items():
            tally.spent[step] += seconds


def catch(folder: Path, databases: Files) -> dict[str, bool]:
    """Play every mutant; say whether its judge found it."""
    caught = {}
    for number, (name, (name_of_judge, mutant)) in enumerate(sorted(MUTANTS.items())):
        with game(folder / str(number), databases) as played, pytest.MonkeyPatch.context() as patch:
            mutant(patch, played)
            caught[name] = name_of_judge in {finding.judge for finding in played.verdicts()}
    return caught


def report(tally: Tally, caught: dict[str, bool], right: int, indexed: int, coins: int, seed: int) -> str:
    """The report as Markdown."""
    low, high = clopper_pearson(tally.opened, tally.destroyed)
    guess_low, guess_high = clopper_pearson(right, coins)
    readable = 100 * (tally.living - tally.unreadable) / tally.living
    lines = [
        "# Seizure report",
        "",
        f"Written by `make seizure`; seed {seed}. SQLite, file custodian, bucket in memory; {tally.games} vaults.",
        "What the adversary has, and what counts as winning: [tests/seizure](../tests/seizure).",
        "",
        "| what | result |",
        "| --- | --- |",
        f"| destroyed records attacked | {tally.destroyed:,} |",
        f"| opened (W1) | {tally.opened} (95 % bounds {low:.2%} to {high:.3%}) |",
        f"| the same with the dead masters (positive control) | {tally.control:,} |",
        (
            f"| right about whose record was destroyed (W2) | {right} of {coins:,} "
            f"(95 % bounds {guess_low:.1%} to {guess_high:.1%}; a coin has 50 %) |"
        ),
        f"| survivors readable (W3) | {readable:.0f} % of {tally.living} |",
        f"| findings of the {len(JUDGES)} judges | {len(tally.findings)} |",
        f"| mutants caught | {sum(caught.values())} of {len(caught)} |",
        f"| right with a global index, a mutant (W2) | {indexed} of {coins:,} |",
        f"| recorded | {tally.recorded / 2**30:.1f} GiB of states |",
        f"| key pages written for each destroyed record | {tally.pack_bytes / tally.destroyed:,.0f} bytes |",
        "",
        "Time of all destructions, from the request to the record, by what it was spent on:",
        "",
        "| step | seconds |",
        "| --- | --- |",
    ]
    for phase, steps in PHASES.items():
        seconds = sum(tally.spent[step] for step in steps)
        if phase == "rewrite":
            seconds -= tally.spent["mirror"]
        lines.append(f"| {phase} | {seconds:.2f} |")
    lines += ["", "| mutant | caught by |", "| --- | --- |"]
    lines += [f"| {name} | {MUTANTS[name][0] if found else '**nobody**'} |" for name, found in sorted(caught.items())]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Play. Only a whole game is written down."""
    parser = argparse.ArgumentParser(prog="python -m tests.seizure", description=__doc__)
    parser.add_argument("--records", type=int, default=RECORDS, help="destroyed records to attack")
    parser.add_argument("--seed", type=int, default=secrets.randbits(32))
    chosen = parser.parse_args()
    console = Console(highlight=False, soft_wrap=True, markup=False)
    console.print(f"seed {chosen.seed}")
    tally = Tally()
    coins = min(COINS, chosen.records)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        databases = Files(blank_file(folder / "blank.db"))
        while tally.destroyed < chosen.records:
            with timed_mirror(tally):
                size = min(A_GAME, chosen.records - tally.destroyed)
                play_one(folder / f"game-{tally.games}", databases, chosen.seed + tally.games, size, tally)
            console.print(f"{tally.destroyed:,} destroyed, {tally.opened} opened, {len(tally.findings)} findings")
        right = play(folder / "coins", databases, trials=coins, seed=chosen.seed)
        with pytest.MonkeyPatch.context() as patch:
            add_global_index(patch)
            indexed = play(folder / "indexed", databases, trials=coins, seed=chosen.seed)
        caught = catch(folder / "mutants", databases)
    text = report(tally, caught, right, indexed, coins, chosen.seed)
    console.print(text)
    for finding in tally.findings[:50]:
        console.print(finding)
    if chosen.records >= RECORDS:
        DOCUMENT.write_text(text, "utf-8")
        console.print(f"Written to docs/{DOCUMENT.name}.")
    lost = tally.findings or tally.opened or clopper_pearson(right, coins)[0] > 0.5
    blind = tally.control < tally.destroyed or clopper_pearson(indexed, coins)[0] <= 0.5 or not all(caught.values())
    if lost or blind:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
