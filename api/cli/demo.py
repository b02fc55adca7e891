"""`shredvault demo`: the whole story in one screen; every number in it is measured, every claim is checked."""

from __future__ import annotations

import hashlib
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from vault.law.retention import Cause

from .exits import CommandError, ExitCode
from .manual import described
from .screen import print_json, say, table
from .settings import JsonOption

if TYPE_CHECKING:
    from vault.adversary import Haul

    from .demo_stage import Destroyed, Filed, Loot, Stage

__all__ = ["demo"]

_EARLY, _PEOPLE, _HELD = 4, 12, 2
_OK, _FORBIDDEN, _GONE = 200, 403, 410
_SECOND_DAY: Final = datetime(2026, 3, 6, 15, tzinfo=UTC)
_DUE_DAY: Final = datetime(2028, 1, 10, 15, tzinfo=UTC)
_ORDER_DAY: Final = datetime(2028, 1, 12, 15, tzinfo=UTC)
_DOCKET: Final = "28-cv-7"
_NAMES: Final = (
    "Ada Aster", "Ben Birch", "Cleo Clover", "Dan Dahlia", "Eva Elder", "Finn Fern",
    "Gus Gorse", "Hana Hazel", "Ivo Iris", "Jun Juniper", "Kim Kale", "Lou Linden",
)  # fmt: skip

_PROLOGUE: Final = """\
SHREDVAULT IN ONE SCREEN
A city keeps scans of people's identity papers. One day they must be gone: also from every backup,
and also for a thief who later gets every password and every key there is. Deleting files cannot do
that. So every record is locked with a key of its own, and all keys hang below one master key, which
is kept apart. To destroy records, the vault moves everybody else's keys below a new master key and
destroys the old one. What follows happens for real while you watch; only the calendar is turned.
"""


@dataclass(frozen=True, slots=True)
class Claim:
    """Something the demo says, and whether it came out so."""

    says: str
    true: bool


@described
def demo(
    *,
    keep: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Where the destruction records are kept. [dim]Default: a new temporary folder.[/dim]"
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Tell the whole story in one screen: file, read back, destroy, and attack what is left.

    A vault is founded in a temporary folder, with its object store and its HTTP service on free ports. Twelve
    records are filed and read back, some are destroyed on their date, two are held, the rest is destroyed on an
    order. Then a thief attacks, who copied everything before and has every living key now. Nothing of yours is
    touched, and nothing is left but the destruction records. Each claim is checked: when one is untrue, the exit
    code is 10.
    """
    try:
        # The scenery needs what other commands do not: an HTTP client, and FastAPI.
        from .demo_stage import read_specimens, set_stage  # noqa: PLC0415
    except ModuleNotFoundError as missing:
        if missing.name != "httpx2":
            raise
        message = "The demo needs more packages. In the folder of Shredvault's sources: pip install '.[embedded]'."
        raise CommandError(ExitCode.USAGE, message) from missing
    scans = read_specimens()
    kept = keep.absolute() if keep else Path(tempfile.mkdtemp(prefix="shredvault-demo-records-"))
    kept.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not as_json:
        say(_PROLOGUE)
    started = time.monotonic()
    try:
        with set_stage() as stage:
            story = _Story(stage, scans, kept, tell=not as_json)
            claims, paths = story.play()
    except BaseException:
        # Cut off before it had a record to keep: then there is no folder to keep either.
        with suppress(OSError):
            kept.rmdir()
        raise
    untrue = [claim.says for claim in claims if not claim.true]
    if as_json:
        print_json({"claims": [asdict(claim) for claim in claims], "destruction_records": paths})
    else:
        _end(claims, paths, time.monotonic() - started)
    if untrue:
        raise CommandError(ExitCode.INCIDENT, f"{len(untrue)} claims did not come out true.")


class _Story:
    """The steps in their order. Each tells what it did, and claims what can be checked."""

    def __init__(self, stage: Stage, scans: dict[str, bytes], kept: Path, *, tell: bool) -> None:
        self._stage = stage
        self._scans = scans
        self._kept = kept
        self._tell = tell
        self._claims: list[Claim] = []
        self._number = 0

    def play(self) -> tuple[list[Claim], list[Path]]:
        """Play it all; return the claims, and the paths of the destruction records."""
        filed = self._file()
        self._read_back(filed)
        loot = [self._steal("A thief copies everything, as a backup does.")]
        swept = self._sweep()
        held = self._hold(filed[_EARLY : _EARLY + _HELD])
        loot.append(self._steal("The thief comes again and copies everything."))
        scrubbed = self._scrub()
        groups = {
            "swept on their date": filed[:_EARLY],
            "scrubbed on an order": filed[_EARLY + _HELD :],
            f"held, docket {_DOCKET}": held,
        }
        self._compare(groups, *self._attack(loot), destroyed=swept.count + scrubbed.count)
        return self._claims, [swept.record, scrubbed.record]

    def _step(self, title: str) -> None:
        self._number += 1
        if self._tell:
            say(f"{self._number:>2}  {self._stage.today}  {title}")

    def _result(self, text: str) -> None:
        if self._tell:
            say(f"{'':16}{text}")

    def _claim(self, says: str, *, true: bool) -> str:
        self._claims.append(Claim(says, true))
        return "yes" if true else "NO"

    def _file(self) -> list[Filed]:
        self._step("FILE. Twelve people bring their papers; a center files them over HTTP.")
        started = time.monotonic()
        names = list(self._scans)
        filed: list[Filed] = []
        used = 0
        for number, name in enumerate(_NAMES):
            if number == _EARLY:
                self._stage.turn_calendar(_SECOND_DAY)
            count = 2 + number % 2
            chosen = [names[(used + offset) % len(names)] for offset in range(count)]
            used += count
            filed.append(
                self._stage.file_record(name, {chosen_name: self._scans[chosen_name] for chosen_name in chosen})
            )
        size = sum(len(content) for one in filed for content in one.papers.values())
        status = self._stage.center_may_read(filed[0])
        self._claim("a center cannot read what it filed", true=status == _FORBIDDEN)
        self._result(
            f"{len(filed)} records with {used} scans, {size / 1e6:.1f} MB, in {time.monotonic() - started:.1f} s."
        )
        self._result(f"A center can only file: when it asks for a scan, the answer is {status} Forbidden.")
        return filed

    def _read_back(self, filed: list[Filed]) -> None:
        self._step("READ. A reviewer opens all of them over HTTP; who reads what, and why, is noted.")
        same = sum(self._stage.read_back(one)[1] for one in filed)
        total = _papers(filed)
        self._claim("every scan comes back byte for byte", true=same == total)
        self._result(f"{same} of {total} scans are the same as filed, byte for byte.")

    def _steal(self, title: str) -> Loot:
        self._step(f"STEAL. {title}")
        loot = self._stage.steal()
        self._result(
            f"Database, passwords, objects: {loot.files} files, {loot.size / 1e6:.0f} MB. "
            "(The master keys are kept apart.)"
        )
        return loot

    def _sweep(self) -> Destroyed:
        self._stage.turn_calendar(_DUE_DAY)
        self._step("SWEEP. For the first records the two years are over. Nobody needs to decide.")
        done = self._stage.destroy(Cause.SWEEP, self._kept)
        self._claim("the sweep destroyed exactly the records that were due", true=done.count == _EARLY)
        self._result(f"{done.count} records destroyed in {done.seconds:.2f} s, by the death of one master key.")
        return done

    def _hold(self, chosen: list[Filed]) -> list[Filed]:
        self._step(f"HOLD. A court wants {len(chosen)} records kept, docket {_DOCKET}.")
        answers = self._stage.hold(chosen, _DOCKET)
        self._claim("both records are held", true=set(answers.values()) == {"held"})
        self._result("They are held from this moment on; neither a sweep nor an order touches them.")
        return chosen

    def _scrub(self) -> Destroyed:
        self._stage.turn_calendar(_ORDER_DAY)
        self._step("SCRUB. Three people sign an order: destroy everything that is not held.")
        done = self._stage.destroy(Cause.SCRUB, self._kept)
        expected = _PEOPLE - _EARLY - _HELD
        self._claim("the scrub destroyed exactly the records that were not held", true=done.count == expected)
        self._result(f"{done.count} records destroyed in {done.seconds:.2f} s, again by the death of one master key.")
        return done

    def _attack(self, loot: list[Loot]) -> tuple[Haul, Haul]:
        self._step("ATTACK. The thief also gets the live vault, every password, every living master key,")
        self._result("and tries everything on everything.")
        haul = self._try(loot, with_destroyed_masters=False)
        self._step("CONTROL. Is the thief only clumsy? The demo kept the dead master keys; he gets them.")
        control = self._try(loot, with_destroyed_masters=True)
        self._claim("the thief has a sealed copy of every record", true=len(haul.sealed_records) == _PEOPLE)
        return haul, control

    def _try(self, loot: list[Loot], *, with_destroyed_masters: bool) -> Haul:
        started = time.monotonic()
        haul = self._stage.attack(loot, with_destroyed_masters=with_destroyed_masters)
        self._result(
            f"{haul.roots_opened} of {haul.roots_seen} key trees open, with {haul.record_keys:,} record keys in them; "
            f"{haul.trials:,} trials in {time.monotonic() - started:.1f} s."
        )
        if with_destroyed_masters:
            self._result("(A key page is made with 1,023 record keys at once, and most are never used.)")
        return haul

    def _compare(self, groups: dict[str, list[Filed]], haul: Haul, control: Haul, *, destroyed: int) -> None:
        rows = []
        for name, records in groups.items():
            dead = not name.startswith("held")
            service = [self._stage.read_back(one) for one in records]
            statuses = set().union(*(seen for seen, _ in service))
            same = sum(count for _, count in service)
            by_thief, by_control = _opened(haul, records), _opened(control, records)
            papers = _papers(records)
            good = (
                statuses == {_GONE if dead else _OK}
                and same == (0 if dead else papers)
                and by_thief == (0 if dead else papers)
                and by_control == papers
            )
            promised = self._claim(
                f"{name}: destroyed ones stay closed, held ones open, the control opens all", true=good
            )
            answer = "410 Gone" if statuses == {_GONE} else ", ".join(map(str, sorted(statuses)))
            rows.append(
                (
                    name,
                    len(records),
                    answer if dead else f"{answer}, {same} of {papers} scans",
                    f"{by_thief} of {papers} scans",
                    f"{by_control} of {papers} scans",
                    promised,
                )
            )
        self._claim("ten records are destroyed and two are not", true=destroyed == _PEOPLE - _HELD)
        if self._tell:
            say("")
            table(
                ("records", "count", "the service says", "the thief opens", "with dead keys too", "as promised"), rows
            )


def _papers(records: list[Filed]) -> int:
    return sum(len(one.papers) for one in records)


def _opened(haul: Haul, records: list[Filed]) -> int:
    """How many of these records' scans the adversary holds: all of each, and the right bytes."""
    opened = {(str(record), name, digest) for (record, name), digest in haul.documents.items()}
    return sum(
        (one.record_id, name, hashlib.sha256(content).hexdigest()) in opened
        for one in records
        for name, content in one.papers.items()
    )


def _end(claims: list[Claim], paths: list[Path], seconds: float) -> None:
    good = sum(claim.true for claim in claims)
    say("")
    say(
        f"{good} of {len(claims)} checks came out as promised, in {seconds:.0f} s. What was observed is written down in"
    )
    for path in paths:
        say(f"  {path}")
    say("No vault can take back what was copied in the clear, or a master key that was stolen while it lived.")
