"""Looking at the clocks, remembering what they said, and clearing a suspicion (T5).

While time is SUSPECT nothing is condemned and no default of a sunset fires: the condemning transaction asks
`require_trusted_time`. Filing goes on; what is filed meanwhile is told apart in the journal. Two persons, records
officer and auditor, clear a suspicion by an order that names it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import TracebackType
from typing import Final, Self

import sqlalchemy as sa

from vault.catalogue import Transaction
from vault.catalogue.law import time_marks
from vault.catalogue.schema import journal
from vault.clocks.clock import steady_seconds
from vault.clocks.trusted_time import Marks, Moment, Suspect, Trusted, disagreement, judge_time
from vault.context import Vault, note
from vault.errors import BusyError, OrderRefusedError, TimeSuspectError, VaultError
from vault.host.processes import Process
from vault.ids import RecordId
from vault.ledger.publishing import publish
from vault.objects import ObjectStoreError
from vault.orders import Action, require_order, use_order
from vault.orders.order import spell_instant

__all__ = [
    "SUSPECT_FILING",
    "TimeState",
    "TimeWatch",
    "clear_time",
    "found_marks",
    "load_marks",
    "never_back",
    "note_filing",
    "observe_time",
    "require_trusted_time",
    "time_state",
]

SUSPECT_FILING: Final = "filed in suspect time"
"""Event of the journal: a record was completed while nobody could say when."""
_SYSTEM: Final = "system clock"
_ANSWER_MAX: Final = timedelta(seconds=10)
"""A source that takes longer to answer does not say what time it is."""
_GOODBYE_S: Final = 1.0
_MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class TimeState:
    """What is known of time, for people."""

    suspect_since: datetime | None
    why: str | None
    filed_meanwhile: int
    """Records that were completed while time was SUSPECT, ever."""


# --- the marks ----------------------------------------------------------------------------------------


def found_marks(tx: Transaction, high_water: datetime, suspicion: tuple[datetime, str] | None = None) -> None:
    """The first marks of a catalogue, in the transaction that founds or rebuilds it."""
    since, why = suspicion or (None, None)
    boot, steady = _this_boot()
    tx.execute(
        sa.insert(time_marks).values(
            only=1,
            high_water=high_water,
            seen_at=high_water,
            boot=boot,
            steady=steady // _MICROSECOND,
            suspect_since=since,
            why=why,
        )
    )


def load_marks(tx: Transaction) -> Marks:
    """The marks as the transaction sees them."""
    row = tx.execute(sa.select(time_marks)).one()
    return Marks(row.high_water, row.seen_at, row.boot, row.steady * _MICROSECOND, row.suspect_since, row.why)


def _remember(tx: Transaction, high_water: datetime, moment: Moment) -> None:
    values = {"high_water": high_water, "seen_at": high_water, "boot": moment.boot}
    tx.execute(
        sa.update(time_marks).values(**values, steady=moment.steady // _MICROSECOND, suspect_since=None, why=None)
    )


# --- looking ------------------------------------------------------------------------------------------


def observe_time(vault: Vault) -> Trusted | Suspect:
    """Look at every clock, and move the marks on, or make time SUSPECT.

    Raises:
        BusyError: a source took too long to answer; nothing is known.
        ObjectStoreError, CatalogueError: a source does not answer; nothing is known.
    """
    moment = _look(vault)
    with vault.catalogue.write() as tx:
        marks = load_marks(tx)
        judgement = judge_time(moment, marks, vault.time.step_max)
        match judgement:
            case Trusted(now=now):
                _remember(tx, now, moment)
            case Suspect(why) if marks.suspect_since is None:
                since = moment.readings[_SYSTEM].replace(microsecond=0)
                tx.execute(sa.update(time_marks).values(suspect_since=since, why=why))
                readings = {source: at.isoformat() for source, at in moment.readings.items()}
                facts = {"since": spell_instant(since), "why": why, "readings": readings}
                note(tx, since, "time suspect", "time", facts)
    return judgement


def _look(vault: Vault) -> Moment:
    """Ask every source, and bring all answers to the instant of the machine's own."""
    begun = steady_seconds()
    readings = {_SYSTEM: vault.clock.now()}
    for name, ask in vault.time.others.items():
        asked = steady_seconds()
        answer = ask()
        if steady_seconds() - asked > _ANSWER_MAX.total_seconds():
            message = f"The {name} took too long to say what time it is."
            raise BusyError(message)
        if answer is not None:
            readings[name] = answer - timedelta(seconds=asked - begun)
    boot, steady = _this_boot()
    return Moment(readings, boot, steady)


def _this_boot() -> tuple[str, timedelta]:
    return Process.this().boot.partition(" ")[0], timedelta(seconds=steady_seconds())


# --- what depends on it -------------------------------------------------------------------------------


def require_trusted_time(tx: Transaction) -> None:
    """Make sure, in the transaction that condemns, that time is not SUSPECT.

    Raises:
        TimeSuspectError: it is.
    """
    marks = load_marks(tx)
    if marks.suspect_since is not None:
        raise TimeSuspectError(marks.why or "")


def never_back(tx: Transaction, now: datetime) -> datetime:
    """What the clock says, but never below the high-water mark: from this retention is reckoned, and who is captured.

    A clock that is set back for a moment, and right again before anybody looks, would else make records due long ago.
    """
    return max(now, load_marks(tx).high_water)


def note_filing(tx: Transaction, record_id: RecordId, at: datetime) -> None:
    """Tell a record that is completed while time is SUSPECT apart: its due date rests on a doubtful clock."""
    if load_marks(tx).suspect_since is not None:
        note(tx, at, SUSPECT_FILING, record_id)


def time_state(tx: Transaction) -> TimeState:
    """What is known of time."""
    marks = load_marks(tx)
    filed = sa.select(sa.func.count()).where(journal.c.event == SUSPECT_FILING)
    return TimeState(marks.suspect_since, marks.why, tx.execute(filed).scalar_one())


def clear_time(vault: Vault, order_id: str) -> Trusted:
    """Trust the clocks again, under an order of records officer and auditor that names the suspicion.

    The clocks must agree by then. What they say counts from here on, also where it is below the high-water mark: a
    clock that once ran ahead must not keep the vault from its duties for ever.

    Raises:
        OrderRefusedError: the order gives no authority for it, or the clocks do not agree.
        NotFoundError: there is no such order.
        ObjectStoreError, CatalogueError, BusyError: a source does not answer.
    """
    moment = _look(vault)
    now = moment.readings[_SYSTEM]
    with vault.catalogue.write() as tx:
        accepted = require_order(tx, order_id, Action.CLEAR_TIME, now)
        since = load_marks(tx).suspect_since
        if since is None or accepted.order.scope["suspect_since"] != spell_instant(since):
            message = "The order clears another suspicion than the one that is there; `shredvault time show` names it."
            raise OrderRefusedError(message)
        apart = disagreement(moment)
        if apart is not None:
            message = f"The clocks still do not agree. {apart}"
            raise OrderRefusedError(message)
        trusted = Trusted(min(moment.readings.values()), moment.readings)
        use_order(tx, order_id, "time", now)
        _remember(tx, trusted.now, moment)
        note(tx, trusted.now, "time cleared", "time", {"order": order_id, "since": spell_instant(since)})
    publish(vault)
    return trusted


class TimeWatch:
    """Looks at the clocks every minute while the service runs. A context manager with a thread of its own."""

    def __init__(self, look: Callable[[], object], every_s: float = 60) -> None:
        """Take what looks, and may fail because a service does; `every_s` is the number of seconds between looks."""
        self._look = look
        self._every_s = every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="time", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        # A source that does not answer holds nobody up.
        self._thread.join(_GOODBYE_S)

    def _watch(self) -> None:
        while True:
            # When a source does not answer nothing is known; after the next look there is.
            with suppress(VaultError, ObjectStoreError):
                self._look()
            if self._stop.wait(self._every_s):
                return
