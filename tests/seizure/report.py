"""The report of a long game: what all its vaults together gave, as Markdown."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.seizure.bounds import clopper_pearson
from tests.seizure.faults import SERVED_MUTANTS
from tests.seizure.game import Game
from tests.seizure.judges import JUDGES, judge
from tests.seizure.served_workload import ServedWorkload
from tests.seizure.test_mutants import MUTANTS

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
    """What games of one kind gave together."""

    destroyed: int = 0
    opened: int = 0
    living: int = 0
    unreadable: int = 0
    control: int = 0
    games: int = 0
    recorded: int = 0
    pack_bytes: int = 0
    scans: int = 0
    kills: int = 0
    findings: list[str] = field(default_factory=list)
    spent: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def add(self, played: Game) -> None:
        """Seize and judge a game that has been played, and play its positive control."""
        seizure, workload = played.seize(), played.workload
        spoils = seizure.attack()
        found = judge(seizure, spoils)
        self.findings += [f"{finding.judge}: {finding.what}" for finding in found]
        self.games += 1
        self.destroyed += len(workload.destroyed)
        self.opened += sum(record.id in spoils.opened for record in workload.destroyed)
        self.living += len(workload.living)
        self.unreadable += sum("living" in finding.what and "cannot be read" in finding.what for finding in found)
        control = seizure.attack(seizure.old_root_keys())
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


def report(played: Tally, served: Tally, guesses: Guesses, caught: Mapping[str, bool], seed: int) -> str:
    """The report as Markdown."""
    destroyed, opened = played.destroyed + served.destroyed, played.opened + served.opened
    living, unreadable = played.living + served.living, played.unreadable + served.unreadable
    low, high = clopper_pearson(opened, destroyed)
    guess_low, guess_high = clopper_pearson(guesses.right, guesses.coins)
    lines = [
        "# Seizure report",
        "",
        f"Written by `make seizure`; seed {seed}. All vaults have SQLite and a file custodian: {played.games} in one",
        f"process on a bucket in memory, {served.games} with `shredvault serve --workers 2` on the embedded SeaweedFS.",
        "What the adversary has, and what counts as winning: [tests/seizure](../tests/seizure).",
        "",
        "| what | in one process | served | together |",
        "| --- | --- | --- | --- |",
        f"| destroyed records attacked | {played.destroyed:,} | {served.destroyed:,} | {destroyed:,} |",
        f"| opened (W1) | {played.opened} | {served.opened} | {opened} (95 % bounds {low:.2%} to {high:.3%}) |",
        (
            f"| the same with the dead masters (positive control) | {played.control:,} | {served.control:,} "
            f"| {played.control + served.control:,} |"
        ),
        (
            f"| survivors readable (W3) | {readable(played)} | {readable(served)} "
            f"| {100 * (living - unreadable) / living:.0f} % of {living:,} |"
        ),
        (
            f"| findings of the {len(JUDGES)} judges | {len(played.findings)} | {len(served.findings)} "
            f"| {len(played.findings) + len(served.findings)} |"
        ),
        f"| processes, commands and stores killed | | {served.kills} | {served.kills} |",
        f"| memories of processes scanned after completion | | {served.scans} | {served.scans} |",
        f"| recorded states | {gib(played)} | {gib(served)} | |",
        "",
        "| what | result |",
        "| --- | --- |",
        (
            f"| right about whose record was destroyed (W2) | {guesses.right} of {guesses.coins:,} "
            f"(95 % bounds {guess_low:.1%} to {guess_high:.1%}; a coin has 50 %) |"
        ),
        f"| right with a global index, a mutant (W2) | {guesses.right_with_an_index} of {guesses.coins:,} |",
        f"| mutants caught | {sum(caught.values())} of {len(caught)} |",
        f"| key pages written for each destroyed record | {played.pack_bytes / played.destroyed:,.0f} bytes |",
        "",
        "Seconds of all destructions, from the request to the record, by what they were spent on. In served vaults",
        "the mirror is part of the rewrite, the start of the command is part of the freeze, and the fence waits until",
        "the workers have ended.",
        "",
        "| step | in one process | served |",
        "| --- | --- | --- |",
    ]
    for phase, steps in PHASES.items():
        seconds = sum(played.spent[step] for step in steps)
        if phase == "rewrite":
            seconds -= played.spent["mirror"]
        there = "" if phase == "mirror" else f"{sum(served.spent[step] for step in steps):.2f}"
        lines.append(f"| {phase} | {seconds:.2f} | {there} |")
    lines += ["", "| mutant | caught by |", "| --- | --- |"]
    judges = {name: judge_of for name, (judge_of, _) in (*MUTANTS.items(), *SERVED_MUTANTS.items())}
    lines += [f"| {name} | {judges[name] if found else '**nobody**'} |" for name, found in sorted(caught.items())]
    return "\n".join(lines) + "\n"


def readable(tally: Tally) -> str:
    """Survivors that could be read."""
    return f"{tally.living - tally.unreadable:,} of {tally.living:,}"


def gib(tally: Tally) -> str:
    """What was recorded."""
    return f"{tally.recorded / 2**30:.1f} GiB"
