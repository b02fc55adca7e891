"""A whole sunset as it can happen at its worst, played on a simulated calendar; every claim is checked.

The dates are those of a city that had promised to destroy its records by the end of 2016, and was forbidden to by a
court three weeks before: an order whose review was moved earlier once and put off three times, a deadline that passed
while everything was held, a petition that was denied and still did not release anything, stays by a second court, and
a second suit. Nothing may die before the last release, and after it nobody has to decide again.

The story knows no place: the command plays it in a temporary folder, and the tests play it with ten thousand records.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, Protocol
from zoneinfo import ZoneInfo

from vault.alarms import Deadline, alarms_of
from vault.certificates import Certificate, issue_certificate
from vault.clocks.clock import SimulatedClock
from vault.context import Vault
from vault.destruction.carrying_out import carry_out
from vault.destruction.drafting import Terms as OrderTerms
from vault.destruction.drafting import draft
from vault.destruction.frozen_lists import forecast, freeze_sunset, freeze_sweep
from vault.destruction.reclaim import reclaim
from vault.destruction.releasing import release_hold, release_scope
from vault.errors import OrderRefusedError
from vault.holds import Kind, Scope, Terms, extend_hold, list_holds, place_hold
from vault.holds.review import HoldState
from vault.ids import HoldId
from vault.law.policy import Sunset
from vault.law.retention import Cause
from vault.law.schedule import DECISIONS
from vault.orders import Accepted, Action, accept_order
from vault.orders.accepting import list_orders
from vault.orders.signatures import ORDERS
from vault.sunset.latching import tick
from vault.wording import number_of

from .demo_people import COMMISSIONER, COUNSEL, DemoPeople

__all__ = ["FIRST_DAY", "RETENTION_MONTHS", "SUNSET", "Claim", "Place", "Story"]

_ZONE: Final = ZoneInfo("America/New_York")


def _at(day: date, hour: int = 10) -> datetime:
    return datetime(day.year, day.month, day.day, hour, tzinfo=_ZONE).astimezone(UTC)


FIRST_DAY: Final = _at(date(2015, 1, 12))
RETENTION_MONTHS: Final = 24
SUNSET: Final = Sunset(date(2016, 9, 1), date(2016, 12, 28), date(2016, 12, 31), "DESTROY", {"program": True})
_FILED_FOR: Final = timedelta(days=570)
"""From the first day on which records are filed to the last one before the hold."""
_UNDER_HOLD: Final = date(2016, 12, 8)
_BACKUP: Final = date(2016, 12, 30)
_DUE_FIRST: Final = date(2017, 1, 13)
_LAST_RELEASE: Final = date(2017, 5, 9)
_COURT, _APPEALS = "State Supreme Court", "Appellate Division"
_NO_TAIL: Final = {"tail_days": 0, "tail_reason": "The court's order ends all protection with it."}


class Place(Protocol):
    """Where the story plays, and who files and steals there."""

    @property
    def vault(self) -> Vault:
        """A vault whose program begins now, with the sunset of the story."""

    @property
    def clock(self) -> SimulatedClock:
        """The vault's clock."""

    @property
    def people(self) -> DemoPeople:
        """Those who stand in its policy."""

    def file(self, count: int) -> date:
        """File so many records now; return the day on which they fall due."""

    def steal(self) -> None:
        """Copy everything, as a backup does; the living master keys are put aside, for the control only."""

    def opened(self, *, with_dead_masters: bool) -> int:
        """Of how many records the thief has a key: with the copies, the live vault, and every master key he gets."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Something the story says, and whether it came out so."""

    day: date
    says: str
    true: bool


@dataclass(slots=True)
class Story:
    """The events in their order."""

    place: Place
    records: int
    filing_days: int
    """On how many days records are filed before the hold; each takes one at least."""
    tell: Callable[[str], None] = lambda _: None
    claims: list[Claim] = field(default_factory=list)
    certificates: list[Certificate] = field(default_factory=list)
    """Of rehearsals: of the destruction at the deadline, in which nothing died, and of the last one."""
    _filed: int = 0
    _told: set[str] = field(default_factory=set)
    """What happened by itself, as it was told."""

    def play(self) -> None:
        """Play it all.

        Raises:
            ValueError: there are too few records for the days on which some are filed.
        """
        if not 1 < self.filing_days < self.records:
            message = "Records are filed on two days or more, and one is left for the day after the hold."
            raise ValueError(message)
        self._file()
        first = self._forbid()
        decision = self._decide(first)
        self._put_off(first)
        self._pass_deadline(decision)
        self._fall_due(first)
        second, third = self._appeal(first)
        self._release({first: "the petition is discontinued", second: "the stay has lapsed"})
        self._end(third, first)

    # --- 2015 and 2016: the program runs ---

    def _file(self) -> None:
        late = max(1, self.records // 100)
        share, rest = divmod(self.records - late, self.filing_days)
        self._turn(FIRST_DAY, f"The program begins. It is to end on {SUNSET.deadline}: everything goes, by default.")
        for number in range(self.filing_days):
            if number:
                self._turn(FIRST_DAY + number * _FILED_FOR / (self.filing_days - 1))
            due = self._file_some(share + (number < rest))
            if not number:
                self._claim(f"what is filed on the first day falls due on {_DUE_FIRST}", true=due == _DUE_FIRST)
        self._say(f"{self._filed} records were filed on {self.filing_days} days until {self._today}.")

    def _file_some(self, count: int) -> date:
        self._filed += count
        return self.place.file(count)

    def _forbid(self) -> HoldId:
        for day in (date(2016, 10, 2), date(2016, 12, 1)):
            self._turn(_at(day))
        self._turn(
            _at(date(2016, 12, 5)), "A court forbids the destruction. Counsel alone places a hold on everything."
        )
        terms = Terms(Kind.COURT_ORDER, _COURT, "2016-080306", review_on=date(2017, 1, 26))
        placed = place_hold(self._vault, terms, Scope(program=True, includes_future=True), "counsel")
        self._claim("the hold protects every record from that moment on", true=placed.matched == self._filed)
        self._nothing_dies()
        return placed.hold_id

    def _decide(self, hold_id: HoldId) -> Accepted:
        self._turn(_at(date(2016, 12, 7)), "The court moves the return date earlier, to December 21.")
        extend_hold(self._vault, hold_id, "counsel", review_on=date(2016, 12, 21))
        self._say(
            "The agency decides all the same: destroy. It is recorded, its effect waits. New records are not kept."
        )
        scope = {"deadline": SUNSET.deadline.isoformat()}
        decision = self._order(Action.DESTROY_AT_SUNSET, scope, COMMISSIONER, COUNSEL)
        self._nothing_dies()
        self._turn(_at(_UNDER_HOLD))
        due = self._file_some(self.records - self._filed)
        self._claim("what is filed now is kept for thirty days, not for years", true=due == date(2017, 1, 6))
        held = _held(self._vault)
        self._claim("the hold protects what is filed after it was placed", true=held == self.records)
        return decision

    def _put_off(self, hold_id: HoldId) -> None:
        self._turn(_at(date(2016, 12, 21)), "The court puts it off to January 5.")
        extend_hold(self._vault, hold_id, "counsel", review_on=date(2017, 1, 5))
        self._nothing_dies()
        self._turn(_at(date(2016, 12, 24)))
        self._turn(_at(_BACKUP), "A backup is made, as every night. A thief gets it.")
        self.place.steal()

    def _pass_deadline(self, decision: Accepted) -> None:
        ends_at = _at(SUNSET.deadline + timedelta(days=1), 0)
        self._turn(ends_at - timedelta(minutes=1))
        self._claim("a minute before midnight nothing has latched", true=self._deadline().latched_at is None)
        said = self._turn(ends_at, "The deadline is over. What was decided latches, and everything is held.")
        seen = self._deadline()
        latched = seen.latched_at is not None and (seen.outcome, seen.order_id) == ("DESTROY", decision.id)
        self._claim("the decision of December 7 has latched", true=latched)
        self._states(said, self.records)
        done = carry_out(self._vault, freeze_sunset(self._vault))
        self._claim("0 records are destroyed at the deadline", true=done.condemned == 0)
        self._certify(done.id)

    # --- 2017: the courts ---

    def _fall_due(self, first: HoldId) -> None:
        self._turn(_at(date(2017, 1, 5)), "The court puts it off to January 18.")
        extend_hold(self._vault, first, "counsel", review_on=date(2017, 1, 18))
        self._nothing_dies()
        self._turn(_at(_DUE_FIRST), "The first records are two years old and due. They are held.")
        self._nothing_dies()
        self._turn(_at(date(2017, 1, 18)), "The court puts it off until it decides.")
        extend_hold(self._vault, first, "counsel", review_on=date(2017, 4, 7))
        self._nothing_dies()
        for day in (date(2017, 2, 1), date(2017, 3, 1), date(2017, 4, 1)):
            self._states(self._turn(_at(day)), self.records)

    def _appeal(self, first: HoldId) -> tuple[HoldId, HoldId]:
        self._turn(
            _at(date(2017, 4, 7)), "The petition is denied: the agency has won. Another court stays that to April 10."
        )
        extend_hold(self._vault, first, "counsel", review_on=date(2017, 5, 5))
        stay = Terms(Kind.COURT_ORDER, _APPEALS, "2017-02890", ends_on=date(2017, 4, 10))
        second = place_hold(self._vault, stay, Scope(program=True, includes_future=True), "counsel").hold_id
        self._nothing_dies()
        self._stay_on(second, date(2017, 4, 10), date(2017, 4, 17))
        third = self._sue()
        self._stay_on(second, date(2017, 4, 17), date(2017, 4, 21))
        self._turn(_at(date(2017, 4, 22)), "The stay is over; nobody has confirmed that.")
        states = {line.id: line.state for line in list_holds(self._vault)}
        self._claim("an end date releases nothing", true=states[second] is HoldState.EXPIRED_UNCONFIRMED)
        self._nothing_dies()
        return second, third

    def _stay_on(self, hold_id: HoldId, day: date, until: date) -> None:
        self._turn(_at(day), f"The stay goes on to {until}.")
        extend_hold(self._vault, hold_id, "counsel", ends_on=until)
        self._nothing_dies()

    def _sue(self) -> HoldId:
        self._turn(_at(date(2017, 4, 13)), "Somebody else sues for access to the same records, on another ground.")
        terms = Terms(Kind.COURT_ORDER, _COURT, "2017-100538", ends_on=date(2017, 5, 3))
        placed = place_hold(self._vault, terms, Scope(program=True, includes_future=True), "counsel")
        self._nothing_dies()
        return placed.hold_id

    def _release(self, acts: dict[HoldId, str]) -> None:
        for number, (hold_id, act) in enumerate(acts.items()):
            self._turn(_at(date(2017, 4, 25 + number)), f"A hold is released: {act}. Others stand.")
            self._release_one(hold_id, act)
            self._nothing_dies()
        self._states(self._turn(_at(date(2017, 5, 1))), self.records)

    def _release_one(self, hold_id: HoldId, act: str) -> None:
        scope = release_scope(self._vault, hold_id, {"do": "release", **_NO_TAIL}, act, None)
        try:
            self._order(Action.RELEASE, scope, COUNSEL)
        except OrderRefusedError:
            alone = False
        else:
            alone = True
        order = self._order(Action.RELEASE, scope, COUNSEL, COMMISSIONER)
        release_hold(self._vault, hold_id, order.id)
        left = hold_id not in {line.id for line in list_holds(self._vault)}
        self._claim("one person cannot release a hold, two can", true=not alone and left)

    def _end(self, last: HoldId, first: HoldId) -> None:
        self._turn(_at(_LAST_RELEASE), "The second suit is over. The last hold is released.")
        self._release_one(last, "the second suit is dismissed")
        done = carry_out(self._vault, freeze_sunset(self._vault))
        self._claim("every record is on the list and dies", true=(done.listed, done.condemned) == (self.records,) * 2)
        with self._vault.catalogue.read() as tx:
            decisions = [one.id for one in list_orders(tx) if one.action in DECISIONS]
        self._claim("no second decision was needed", true=len(decisions) == 1)
        paper = self._certify(done.id)["deadline"]
        missed = not paper["met"] and paper["last_day"] == SUNSET.deadline.isoformat()
        named = missed and first in paper["why"]
        self._claim("the certificate names the missed deadline, and the hold that is why", true=named)
        self._say(f"Certificate: deadline {paper['last_day']} MISSED. {paper['why']}")
        reclaim(self._vault)
        self._say("The thief tries his backup of December 30, with the live vault and every living master key.")
        thief, control = (self.place.opened(with_dead_masters=dead) for dead in (False, True))
        self._claim("the backup of December 30 opens nothing", true=thief == 0)
        self._claim("with the dead master keys it would have opened everything", true=control == self.records)
        self._say(f"He opens {thief} of {self.records} records; with the dead master keys it would be {control}.")
        self._states(self._turn(_at(date(2017, 6, 1))), 0)

    # --- what is done again and again ---

    @property
    def _vault(self) -> Vault:
        return self.place.vault

    @property
    def _today(self) -> date:
        return self.place.clock.now().astimezone(_ZONE).date()

    def _say(self, text: str) -> None:
        self.tell(f"{'':12}{text}")

    def _turn(self, to: datetime, title: str = "") -> list[str]:
        """Move on to an instant, and let what happens by itself happen."""
        self.place.clock.advance(to - self.place.clock.now())
        if title:
            self.tell(f"{self._today}  {title}")
        said = tick(self._vault)
        for sentence in said:
            # A deferral is stated every month, in the same words; they are told once.
            tale = (
                "It is stated again every month, as long as anything is held." if sentence in self._told else sentence
            )
            if tale not in self._told:
                self._say(tale)
            self._told |= {tale, sentence}
        return said

    def _claim(self, says: str, *, true: bool) -> None:
        self.claims.append(Claim(self._today, says, true))
        if not true:
            self._say(f"UNTRUE: {says}")

    def _nothing_dies(self) -> None:
        """Try whatever could destroy something today."""
        done = [carry_out(self._vault, freeze_sweep(self._vault)).condemned]
        if self._deadline().latched_at is not None:
            done.append(carry_out(self._vault, freeze_sunset(self._vault)).condemned)
        scrub = sum(forecast(self._vault, Cause.SCRUB).would_die.values())
        self._claim("nothing dies, by age, by the sunset or by an order", true=not any(done) and not scrub)

    def _states(self, said: list[str], count: int) -> None:
        held = number_of(count, "record", "is", "are") if count else "No record is"
        stated = any(sentence.startswith(f"{held} held past the deadline") for sentence in said)
        self._claim(f"it is stated: {held} held past the deadline", true=stated)

    def _deadline(self) -> Deadline:
        seen = alarms_of(self._vault).deadline
        assert seen is not None
        return seen

    def _order(self, action: Action, scope: dict[str, Any], *names: str) -> Accepted:
        body = draft(self._vault, action, scope, _terms("As it was decided.")).encode()
        return accept_order(self._vault, body, self.place.people.sign(body, ORDERS, *names))

    def _certify(self, destruction_id: str) -> dict[str, Any]:
        certificate = issue_certificate(self._vault, destruction_id, rehearsal=True)
        self.certificates.append(certificate)
        return certificate.content


def _terms(reason: str) -> OrderTerms:
    return OrderTerms(reason, "Administrative Code 3-115", cooling_off_hours=0)


def _held(vault: Vault) -> int:
    return forecast(vault, Cause.SCRUB).would_live.get("held", 0)
