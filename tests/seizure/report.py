"""The report of a long game: what all its vaults together gave, as Markdown."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.seizure.attested import NO_CLAIM, WON
from tests.seizure.bounds import clopper_pearson
from tests.seizure.faults import SERVED_MUTANTS
from tests.seizure.game import Game
from tests.seizure.judges import JUDGES, judge
from tests.seizure.served_workload import ServedWorkload
from tests.seizure.spoils import TRIALS_MAX
from tests.seizure.test_mutants import MUTANTS

PHASES = {
    "freeze": ("freeze",),
    "rewrite": ("intent", "stage", "condemn"),
    "mirror": (),
    "fence": ("fence",),
    "custodian": ("create master", "destroy master"),
    "certificate": ("record",),
}


SERVED_STAGE = "served, masters in files, SQLite"
FEWEST = 10
"""Destroyed records of the shortest game."""

HEAD = """\
# Seizure report

Written by `make seizure`; seed {seed}. What the adversary has, and what counts as winning:
[tests/seizure](../tests/seizure). Served vaults run `shredvault serve --workers 2` on the embedded SeaweedFS, and
are killed; the others run in one process, on a bucket in memory.

## Without copies of the dead masters the adversary loses

He has every state of everything that was ever stored, everything the vault gives out, all credentials, the key that
signs, and every use of the living masters.
"""
WINS = """\
## With copies of the dead masters he WINS

These custodians are software: whoever copies their storage before a destruction has the old masters after it, and
with them and the recorded data everything that was destroyed. No key tree helps against that. It is the positive
control of the game, without which it could be blind, and it is the truth about such custodians. Of a custodian that
is split in two he needs the copies of both.

The certificates say so: {warning:,} of {certificates:,} claim no method of sanitization, and say that they cannot prove
that nobody copied both the data and the old master key. One that said more would be a finding.
"""
SECONDS = """\
Seconds of all destructions, from the request to the certificate, by what they were spent on. In served vaults the
mirror is part of the rewrite, the start of the command is part of the freeze, and the fence waits until the workers
have ended.
"""


@dataclass
class Tally:
    """What games on one stage gave together."""

    stage: str
    destroyed: int = 0
    opened: int = 0
    living: int = 0
    unreadable: int = 0
    control: int = 0
    games: int = 0
    trials: int = 0
    pairs: int = 0
    certificates: int = 0
    """Of destructions in which somebody died."""
    warning: int = 0
    """Certificates that claim nothing, and say what copies of the masters undo."""
    recorded: int = 0
    pack_bytes: int = 0
    scans: int = 0
    kills: int = 0
    findings: list[str] = field(default_factory=list)
    spent: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def __str__(self) -> str:
        return (
            f"{self.destroyed:,} destroyed, {self.opened} opened, {self.control} with copies of the masters, "
            f"{len(self.findings)} findings"
        )

    def add(self, played: Game) -> None:
        """Seize and judge a game that has been played, and play its positive control."""
        seizure, workload = played.seize(), played.workload
        spoils = seizure.attack()
        found = judge(seizure, spoils)
        self.findings += [f"{finding.judge}: {finding.what}" for finding in found]
        self.games += 1
        self.trials, self.pairs = self.trials + spoils.trials, self.pairs + spoils.pairs
        for content in certificates(played):
            self.certificates += 1
            self.warning += NO_CLAIM in content["sanitization"].values() and WON in content["cannot_prove"]
        self.destroyed += len(workload.destroyed)
        self.opened += sum(record.id in spoils.opened for record in workload.destroyed)
        self.living += len(workload.living)
        self.unreadable += sum("living" in finding.what and "cannot be read" in finding.what for finding in found)
        control = seizure.attack_with_copies()
        self.control += sum(record.id in control.opened for record in workload.destroyed)
        self.recorded += played.recorder.recording.bytes_seen
        self.pack_bytes += workload.mirror_bytes
        if isinstance(workload, ServedWorkload):
            self.scans += workload.scans
            self.kills += len(workload.kills)
        for step, seconds in workload.spent.items():
            self.spent[step] += seconds

    @property
    def is_lost(self) -> bool:
        """Whether the adversary has won anything."""
        return bool(self.findings or self.opened)

    @property
    def is_blind(self) -> bool:
        """Whether the adversary would not even win with copies of the dead masters."""
        return self.control < self.destroyed


@dataclass(frozen=True)
class Guesses:
    """How often the adversary was right about whose record was destroyed."""

    right: int
    right_with_an_index: int
    coins: int

    @property
    def is_lost(self) -> bool:
        """Whether he is better than a coin."""
        return clopper_pearson(self.right, self.coins)[0] > 0.5

    @property
    def is_blind(self) -> bool:
        """Whether he would not even see a global index."""
        return clopper_pearson(self.right_with_an_index, self.coins)[0] <= 0.5


def certificates(played: Game) -> Iterator[dict[str, Any]]:
    """What the vault has certified, where somebody died."""
    for name, document in played.recorder.recording.newest("papers"):
        if name.endswith("certificate.json"):
            content = json.loads(document)["certificate"]
            if content["counts"]["destroyed"]:
                yield content


def report(tallies: Sequence[Tally], guesses: Guesses, caught: Mapping[str, bool], seed: int) -> str:
    """The report as Markdown."""
    destroyed, opened = sum(one.destroyed for one in tallies), sum(one.opened for one in tallies)
    control, findings = sum(one.control for one in tallies), sum(len(one.findings) for one in tallies)
    living, unreadable = sum(one.living for one in tallies), sum(one.unreadable for one in tallies)
    low, high = clopper_pearson(opened, destroyed)
    guess_low, guess_high = clopper_pearson(guesses.right, guesses.coins)
    first, *_, served = tallies
    lines = [
        HEAD.format(seed=seed),
        "| stage | vaults | destroyed | opened (W1) | survivors read (W3) | findings |",
        "| --- | --- | --- | --- | --- | --- |",
        *(
            f"| {one.stage} | {one.games} | {one.destroyed:,} | {one.opened} | {readable(one)} | {len(one.findings)} |"
            for one in tallies
        ),
        (
            f"| all | {sum(one.games for one in tallies)} | {destroyed:,} | {opened} "
            f"(95 % bounds {low:.2%} to {high:.3%}) | {living - unreadable:,} of {living:,} | {findings} |"
        ),
        "",
        f"Findings are those of {len(JUDGES)} judges, of which each looks by its own means.",
        "",
        WINS.format(warning=sum(one.warning for one in tallies), certificates=sum(one.certificates for one in tallies)),
        "| stage | destroyed | opened with copies of the custodian's storage |",
        "| --- | --- | --- |",
        *(f"| {one.stage} | {one.destroyed:,} | {one.control:,} |" for one in tallies),
        f"| all | {destroyed:,} | {control:,} |",
        "",
        "## More",
        "",
        "| what | result |",
        "| --- | --- |",
        (
            f"| right about whose record was destroyed (W2) | {guesses.right} of {guesses.coins:,} "
            f"(95 % bounds {guess_low:.1%} to {guess_high:.1%}; a coin has 50 %) |"
        ),
        f"| right with a global index, a mutant (W2) | {guesses.right_with_an_index} of {guesses.coins:,} |",
        f"| mutants caught | {sum(caught.values())} of {len(caught)} |",
        f"| openings tried, of pages, sheets and slips | {sum(one.trials for one in tallies):,} |",
        (
            f"| pairs of a key that he reaches and a sheet or slip | {sum(one.pairs for one in tallies):,}: in a vault "
            f"with up to {TRIALS_MAX:,} all were tried, else a sample of so many, and each key at its own place |"
        ),
        f"| processes, commands and stores killed | {served.kills} |",
        f"| memories of processes scanned after completion | {served.scans} |",
        f"| recorded states | {sum(one.recorded for one in tallies) / 2**30:.1f} GiB |",
        f"| key pages for each record destroyed, first stage | {first.pack_bytes / first.destroyed:.0f} bytes |",
        "",
        SECONDS,
        f"| step | {' | '.join(one.stage for one in tallies)} |",
        f"| --- |{' --- |' * len(tallies)}",
    ]
    lines += [f"| {phase} | {' | '.join(_spent(one, phase) for one in tallies)} |" for phase in PHASES]
    lines += ["", "| mutant | caught by |", "| --- | --- |"]
    judges = {name: judge_of for name, (judge_of, _) in (*MUTANTS.items(), *SERVED_MUTANTS.items())}
    lines += [f"| {name} | {judges[name] if found else '**nobody**'} |" for name, found in sorted(caught.items())]
    return "\n".join(lines) + "\n"


def _spent(tally: Tally, phase: str) -> str:
    """Seconds in a phase; those of the mirror are measured inside of the rewrite, and in served vaults not at all."""
    seconds = sum(tally.spent[step] for step in PHASES[phase])
    if phase == "mirror":
        return "" if tally.scans else f"{tally.spent['mirror']:.2f}"
    if phase == "rewrite":
        seconds -= tally.spent["mirror"]
    return f"{seconds:.2f}"


def readable(tally: Tally) -> str:
    """Survivors that could be read."""
    return f"{tally.living - tally.unreadable:,} of {tally.living:,}"
