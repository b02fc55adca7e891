"""The rules of holds, H1 to H12, each by what it must make impossible. Test names and docstrings name the rule."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa

from tests.people import COUNSEL, HEAD, OFFICER, edited, frozen
from tests.vault.holding import AUTHORITY, adopt, place_hold, release_order
from tests.vault.world import PURPOSE, START, World, open_world_vault
from vault import holds
from vault.access import ForbiddenError, Role, authenticate, create_token
from vault.catalogue.holding import held_slots
from vault.catalogue.law import orders
from vault.catalogue.schema import access_tokens
from vault.clocks.clock import civil_date
from vault.destruction import releasing
from vault.destruction.carrying_out import carry_out, recover_destructions
from vault.destruction.frozen_lists import forecast
from vault.destruction.releasing import finish_endings
from vault.errors import HoldRefusedError, NotFoundError, OrderRefusedError, RuleBrokenError
from vault.holds import Kind, Scope, Terms, copy_held_keys
from vault.holds.review import HoldState, attention, list_holds, show_hold, state_of
from vault.holds.sealed import draw_key, seal, unseal
from vault.holds.terms import tail_of
from vault.ids import new_id
from vault.law.retention import Cause
from vault.records.filing import open_record
from vault.records.retrieval import read_record
from vault.recovery.rebuild import rebuild
from vault.status import status_of

COURT = Terms(Kind.COURT_ORDER, "Supreme Court", "80308/16")
PROGRAM = Scope(program=True)
NO_TAIL = {"do": "release", "tail_days": 0, "tail_reason": "the stipulation says so"}


def hold(world: World, scope: Scope, terms: Terms = COURT) -> str:
    return holds.place_hold(world.vault, terms, scope, "counsel").hold_id


def let_go(world: World, hold_id: str, change: dict[str, Any] | None = None) -> None:
    releasing.release_hold(world.vault, hold_id, release_order(world.vault, hold_id, change or NO_TAIL).id)


def held(world: World) -> int:
    with world.vault.catalogue.read() as tx:
        return len(held_slots(tx))


def test_h1_h8_rules_match_what_they_say_when_asked(quick_world: World) -> None:
    """H1, H8: by dates, centers, the whole program, with and without future captures; nothing runs in between."""
    world = quick_world
    early = world.file()
    world.advance(days=40)
    late, unfinished = world.file(), world.open()
    far = authenticate(world.vault, create_token(world.vault, Role.CENTER, "far"))
    elsewhere = open_record(world.vault, far, idempotency_key="1", applicant={}, body=b"").record_id
    first, then = START.date(), (START + timedelta(days=40)).date()
    for scope, matched in (
        (Scope(filed_to=first), {early.id}),
        (Scope(filed_from=first, filed_to=then - timedelta(days=1)), {early.id}),
        (Scope(filed_from=then), {late.id, unfinished.id, elsewhere}),
        (Scope(centers=("far",)), {elsewhere}),
        (Scope(centers=("far", "center"), filed_to=first), {early.id}),
        (PROGRAM, {early.id, late.id, unfinished.id, elsewhere}),
    ):
        one = hold(world, scope, replace(COURT, docket=f"d-{len(matched)}-{id(scope)}"))
        rows = world.rows(f"SELECT record_id FROM record_holds WHERE hold_id = '{one}'")
        assert {row[0] for row in rows} == matched, scope
        let_go(world, one)
    assert held(world) == 0
    now_only = hold(world, replace(PROGRAM, includes_future=False))
    future = hold(world, PROGRAM, replace(COURT, docket="future"))
    new = world.file()
    protecting = {row[0] for row in world.rows(f"SELECT hold_id FROM record_holds WHERE record_id = '{new.id}'")}
    assert protecting == {future} != {now_only}
    # What was filed since is copied by the next night, and protected before.
    assert copy_held_keys(world.vault) == 1
    world.advance(days=900)
    assert world.sweep().listed == 0


def test_h1_a_record_of_an_unknown_center_matches_every_center(quick_world: World) -> None:
    """A rebuilt catalogue may not know who opened a record: protecting errs on the safe side."""
    record = quick_world.file()
    create_token(quick_world.vault, Role.CENTER, "far")
    hold(quick_world, Scope(centers=("far",)))
    assert held(quick_world) == 0
    quick_world.run(f"UPDATE records SET opened_by = NULL WHERE id = '{record.id}'")
    assert held(quick_world) == 1


def test_h1_any_number_of_holds_and_each_must_end(quick_world: World) -> None:
    record = quick_world.file()
    three = [hold(quick_world, PROGRAM, replace(COURT, docket=f"d{n}")) for n in range(2)]
    three.append(place_hold(quick_world.vault, [record.id], "named").hold_id)
    quick_world.advance(days=900)
    for one in three:
        assert quick_world.sweep().listed == 0
        let_go(quick_world, one)
    # H6: the clock never stood still; what is overdue is on the next list.
    assert quick_world.sweep().condemned == 1
    quick_world.assert_destroyed(record)
    quick_world.assert_two_masters()


def test_h2_one_person_and_the_same_docket_is_the_same_hold(quick_world: World) -> None:
    quick_world.file()
    first = holds.place_hold(quick_world.vault, COURT, PROGRAM, "counsel")
    again = holds.place_hold(quick_world.vault, COURT, PROGRAM, "counsel")
    other = holds.place_hold(quick_world.vault, replace(COURT, authority="Appellate Division"), PROGRAM, "counsel")
    assert (first.hold_id, first.repeated, again.repeated) == (again.hold_id, False, True)
    assert other.hold_id != first.hold_id
    wider = holds.widen_hold(quick_world.vault, first.hold_id, Scope(filed_from=date(2015, 1, 1)), "counsel")
    assert (wider.repeated, len(show_hold(quick_world.vault, first.hold_id)[0].scopes)) == (False, 2)
    with pytest.raises(NotFoundError):
        holds.widen_hold(quick_world.vault, new_id(), PROGRAM, "counsel")
    with pytest.raises(HoldRefusedError, match="center"):
        hold(quick_world, Scope(centers=("Atlantis",)), replace(COURT, docket="x"))
    assert len(list_holds(quick_world.vault)) == 2


def test_h3_what_weakens_a_hold_takes_two_people_and_a_cooling_off(quick_world: World) -> None:
    world = quick_world
    record = world.file()
    one, other = hold(world, PROGRAM), hold(world, PROGRAM, replace(COURT, docket="other"))
    for signers in ((COUNSEL,), (OFFICER, HEAD)):
        with pytest.raises(OrderRefusedError, match="under-signed"):
            release_order(world.vault, one, NO_TAIL, signers=signers)
    patient = release_order(world.vault, one, NO_TAIL, signers=(COUNSEL, HEAD), cooling_off_hours=None)
    with pytest.raises(OrderRefusedError, match="before"):
        releasing.release_hold(world.vault, one, patient.id)
    world.advance(hours=73)
    with pytest.raises(OrderRefusedError, match="another hold"):
        releasing.release_hold(world.vault, other, patient.id)
    with pytest.raises(RuleBrokenError):
        world.run(f"UPDATE hold_scopes SET ends_at = 1, ending_order = '{patient.id}' WHERE hold_id = '{one}'")
    releasing.release_hold(world.vault, one, patient.id)
    assert [line.id for line in list_holds(world.vault)] == [other]
    with pytest.raises(NotFoundError):
        releasing.release_hold(world.vault, one, patient.id)
    world.advance(days=900)
    assert world.sweep().listed == 0
    world.assert_readable(record)


def test_h3_an_order_that_somebody_wrote_into_the_catalogue_releases_nothing(quick_world: World) -> None:
    """Who can write in the catalogue cannot sign: the signatures are verified again."""
    world = quick_world
    world.file()
    one, other = hold(world, PROGRAM), hold(world, PROGRAM, replace(COURT, docket="other"))
    signed = release_order(world.vault, other, NO_TAIL)
    body = edited(signed.body, scope={**signed.order.scope, "hold": one}, nonce=new_id())
    forged = str(json.loads(body)["nonce"])
    with world.vault.catalogue.write() as tx:
        row = tx.execute(sa.select(orders).where(orders.c.id == signed.id)).one()._asdict()
        tx.execute(sa.insert(orders).values(row | {"id": forged, "body": body}))
    with pytest.raises(OrderRefusedError):
        releasing.release_hold(world.vault, one, forged)
    assert {line.id for line in list_holds(world.vault)} == {one, other}


def test_h3_narrowing_and_shortening(quick_world: World) -> None:
    world = quick_world
    kept, gone = world.file(), world.file()
    one = hold(world, Scope((kept.id, gone.id)), replace(COURT, ends_on=date(2027, 1, 1)))
    with pytest.raises(HoldRefusedError, match="earlier"):
        holds.extend_hold(world.vault, one, "counsel", ends_on=date(2026, 6, 1))
    for wrong in ({"do": "narrow", "records": [new_id()]}, {"do": "narrow"}, {"do": "end"}, {"do": "release", "x": 1}):
        with pytest.raises(HoldRefusedError):
            release_order(world.vault, one, wrong)
    let_go(world, one, {"do": "shorten", "ends_on": "2026-06-01"})
    assert show_hold(world.vault, one)[0].ends_on == date(2026, 6, 1)
    let_go(world, one, {**NO_TAIL, "do": "narrow", "records": [gone.id]})
    world.advance(days=900)
    assert world.sweep().condemned == 1
    world.assert_destroyed(gone)
    world.assert_readable(kept)
    assert [line.records for line in list_holds(world.vault)] == [1]


def test_h4_an_end_date_releases_nothing_and_alarms_every_day(quick_world: World) -> None:
    record = quick_world.file()
    one = hold(quick_world, PROGRAM, replace(COURT, ends_on=date(2026, 2, 1)))
    assert attention(quick_world.vault) == []
    quick_world.advance(days=900)
    for _ in range(2):
        (sentence,) = attention(quick_world.vault)
        assert one in sentence
        assert [line.state for line in list_holds(quick_world.vault)] == [HoldState.EXPIRED_UNCONFIRMED]
        assert quick_world.sweep().listed == 0
        quick_world.advance(days=1)
    quick_world.assert_readable(record)
    holds.extend_hold(quick_world.vault, one, "counsel", ends_on=date(2030, 1, 1))
    assert "review" in attention(quick_world.vault)[0]


def test_h4_states() -> None:
    day = date(2026, 3, 1)
    before, after = day - timedelta(days=1), day + timedelta(days=1)
    told = {"ending": False, "released": False}
    assert state_of(after, None, day, **told) is HoldState.IN_FORCE
    assert state_of(day, None, day, **told) is HoldState.REVIEW_DUE
    assert state_of(after, day, day, **told) is HoldState.IN_FORCE
    assert state_of(before, before, day, **told) is HoldState.EXPIRED_UNCONFIRMED
    assert state_of(before, before, day, ending=True, released=False) is HoldState.ENDING
    assert state_of(before, before, day, ending=True, released=True) is HoldState.RELEASED


def test_h5_a_tail_protects_after_the_release(quick_world: World) -> None:
    record = quick_world.file()
    one = hold(quick_world, PROGRAM)
    order = release_order(quick_world.vault, one)
    released = releasing.release_hold(quick_world.vault, one, order.id)
    assert (released.destructions, [line.state for line in list_holds(quick_world.vault)]) == ([], [HoldState.ENDING])
    quick_world.advance(days=364)
    assert finish_endings(quick_world.vault) == []
    assert held(quick_world) == 1
    late = quick_world.file()
    copy_held_keys(quick_world.vault)
    quick_world.advance(days=2)
    newest = quick_world.file()
    assert copy_held_keys(quick_world.vault) == 0
    assert held(quick_world) == 3
    (done,) = finish_endings(quick_world.vault)
    assert (done.kind, done.condemned, held(quick_world)) == ("release", 2, 0)
    assert order.id in done.authority
    quick_world.advance(days=900)
    assert quick_world.sweep().condemned == 3
    quick_world.assert_destroyed(record, late, newest)


def test_h5_tails_by_kind() -> None:
    assert [tail_of(kind, None, None, {}) for kind in (Kind.COURT_ORDER, Kind.AUDIT)] == [365, 0]
    assert tail_of(Kind.COURT_ORDER, None, None, {"court-order": 30}) == 30
    assert tail_of(Kind.COURT_ORDER, 0, "ordered so", {}) == 0
    with pytest.raises(HoldRefusedError, match="reason"):
        tail_of(Kind.COURT_ORDER, 0, None, {})


def test_h5_a_hold_placed_again_in_its_tail_goes_on(quick_world: World) -> None:
    record = quick_world.file()
    one = hold(quick_world, Scope((record.id,)))
    releasing.release_hold(quick_world.vault, one, release_order(quick_world.vault, one).id)
    assert hold(quick_world, Scope((record.id,))) == one
    quick_world.advance(days=900)
    assert finish_endings(quick_world.vault) == []
    assert quick_world.sweep().listed == 0


def test_h7_ids_are_answered_one_by_one(quick_world: World) -> None:
    dead = quick_world.file()
    quick_world.advance(days=800)
    done = quick_world.sweep()
    one, free, stranger = quick_world.file(), quick_world.file(), new_id()
    place_hold(quick_world.vault, [one.id], "d")
    assert holds.answer_for(quick_world.vault, [one.id, free.id, stranger, "x", dead.id]) == {
        one.id: "held",
        free.id: "in the vault",
        stranger: "unknown",
        "x": "unknown",
        dead.id: f"destroyed on 2028-03-15 by {done.id}",
    }


def test_h9_h10_a_hold_lets_nobody_read_and_keeps_nobody_from_reading(quick_world: World) -> None:
    record = quick_world.file()
    hold(quick_world, PROGRAM)
    quick_world.assert_readable(record)
    for role in (Role.COUNSEL, Role.RECORDS_OFFICER, Role.AUDITOR):
        caller = authenticate(quick_world.vault, create_token(quick_world.vault, role, role.value))
        with pytest.raises(ForbiddenError):
            read_record(quick_world.vault, caller, record.id, PURPOSE)


def test_h11_a_sealed_hold_protects_and_is_nowhere(quick_world: World) -> None:
    world = quick_world
    due, young = world.file(), world.file()
    with pytest.raises(HoldRefusedError, match="keygen"):
        hold(world, PROGRAM, replace(COURT, sealed=True))
    private, public = draw_key()
    adopt(world.vault, counsel_seal=public)
    world.advance(days=900)
    world.file()
    before = (status_of(world.vault).held, status_of(world.vault).holds_in_force)
    terms = replace(COURT, docket="80308-16-canary", reason="grand jury canary", sealed=True)
    one = hold(world, Scope((due.id, young.id)), terms)
    seen = forecast(world.vault, Cause.SWEEP)
    assert (seen.would_die, seen.would_live) == ({}, {"not eligible": 3})
    assert (status_of(world.vault).held, status_of(world.vault).holds_in_force) == before == (0, 0)
    assert list_holds(world.vault) == []
    assert attention(world.vault) == []
    with pytest.raises(NotFoundError):
        show_hold(world.vault, one)
    assert b"canary" not in world.catalogue_at_rest()
    (line,) = list_holds(world.vault, for_counsel=True)
    assert line.sealed is not None
    confidence = unseal(private, world.vault.vault_id, one, line.sealed)
    assert (confidence.docket, confidence.reason) == ("80308-16-canary", "grand jury canary")
    assert world.sweep().listed == 0
    # Held openly too, it counts as held.
    place_hold(world.vault, [due.id], "open")
    assert forecast(world.vault, Cause.SWEEP).would_live == {"held": 1, "not eligible": 2}


def test_h11_a_seal_opens_for_its_hold_and_key_alone() -> None:
    private, public = draw_key()
    other, _ = draw_key()
    vault_id, one = bytes(16), new_id()
    short, long = (seal(public, vault_id, one, holds.Confidence("Court", docket, None)) for docket in ("1", "1" * 60))
    assert len(short) == len(long)
    assert unseal(private, vault_id, one, short).docket == "1"
    for key, vault, name in ((other, vault_id, one), (private, b"x" * 16, one), (private, vault_id, new_id())):
        with pytest.raises(HoldRefusedError):
            unseal(key, vault, name, short)
    with pytest.raises(HoldRefusedError):
        unseal("not a key", vault_id, one, short)


def test_h12_a_rebuilt_vault_has_every_hold_before_it_destroys(quick_world: World) -> None:
    world = quick_world
    dead, kept, other = world.file(), world.file(), world.file()
    first = hold(world, Scope((kept.id, other.id)))
    world.advance(days=800)
    world.sweep()
    world.assert_destroyed(dead)
    young = world.file()
    let_go(world, first, {**NO_TAIL, "do": "narrow", "records": [other.id]})
    rule = hold(world, Scope(filed_from=date(2028, 1, 1)), replace(COURT, docket="rule"))
    tail = hold(world, PROGRAM, replace(COURT, docket="tail"))
    releasing.release_hold(world.vault, tail, release_order(world.vault, tail).id)
    gone = hold(world, PROGRAM, replace(COURT, docket="gone"))
    let_go(world, gone)
    holds.extend_hold(world.vault, rule, "counsel", review_on=date(2028, 4, 1))
    before = [list_holds(world.vault, all_of_them=True), show_hold(world.vault, rule)]
    again = rebuilt(world)
    assert [list_holds(again.vault, all_of_them=True), show_hold(again.vault, rule)] == before
    again.advance(days=370)
    finish_endings(again.vault)
    copy_held_keys(again.vault)
    again.advance(days=800)
    again.sweep()
    again.assert_readable(kept, young)
    again.assert_destroyed(other)


def test_h5_the_same_case_again_keeps_the_longer_tail(quick_world: World) -> None:
    """On a ground that has a tail, or with a longer one by choice; never a shorter one; and a rebuild knows it."""
    record = quick_world.file()

    def place(kind: Kind, tail: int | None = None) -> int:
        placed = holds.place_hold(
            quick_world.vault, Terms(kind, AUTHORITY, "16-cv-7", tail_days=tail), Scope((record.id,)), "counsel"
        )
        assert len(list_holds(quick_world.vault)) == 1
        return int(quick_world.value(f"SELECT tail_days FROM holds WHERE id = '{placed.hold_id}'"))

    assert [place(Kind.AUDIT), place(Kind.COURT_ORDER), place(Kind.AUDIT), place(Kind.AUDIT, 500)] == [0, 365, 365, 500]
    assert rebuilt(quick_world).value("SELECT tail_days FROM holds") == 500


def rebuilt(world: World) -> World:
    """The same vault with a catalogue made from the bucket and the custodian alone."""
    home = world.folder / "second-home"
    home.mkdir()
    database = world.databases.new(home)
    vault = open_world_vault(world.folder, world.vault.vault_id, world.vault.bucket, world.clock, database)
    with world.vault.catalogue.read() as tx:
        tokens = [dict(row._mapping) for row in tx.execute(sa.select(access_tokens))]
    vault.catalogue.migrate()
    rebuild(vault, [world.custodian.uri], tokens)
    recover_destructions(vault)
    world.vault.catalogue.close()
    world.vault, world.database = vault, database
    return world


@pytest.mark.long
def test_h8_a_hold_committed_just_before_condemning_protects(new_world: Callable[[], World]) -> None:
    """Hundreds of tries with real concurrency, of named records and of rules: whoever commits first wins."""
    world = new_world()
    outcomes: Counter[bool] = Counter()
    race = Race()
    for turn in range(40):
        day = civil_date(world.clock.now(), ZoneInfo("America/New_York"))
        victims = [world.file() for _ in range(4)]
        world.advance(days=800)
        list_id = frozen(world.vault, Cause.SWEEP)
        by_rule = Scope(filed_from=day, filed_to=day)
        scopes = [by_rule] if turn % 4 == 0 else [Scope((victim.id,)) for victim in victims]

        def strike(number: int, scope: Scope, turn: int = turn) -> None:
            race.await_start()
            time.sleep(number * 0.002)
            with suppress(holds.NothingToHoldError):
                holds.place_hold(world.vault, Terms(Kind.AUDIT, AUTHORITY, f"{turn}/{number}"), scope, "counsel")

        threads = [threading.Thread(target=strike, args=(n, scope)) for n, scope in enumerate(scopes)]
        for thread in threads:
            thread.start()
        carry_out(world.vault, list_id, race.step)
        race.begun.set()
        for thread in threads:
            thread.join()
        alive = [world.is_readable(victim) for victim in victims]
        protected = [
            bool(world.value(f"SELECT COUNT(*) FROM record_holds WHERE record_id = '{victim.id}'"))
            for victim in victims
        ]
        assert alive == protected
        outcomes.update(alive)
        race.judge(held=sum(alive), of=len(alive))
    assert outcomes[True]
    assert outcomes[False], "the race was never won, or never lost: it tests nothing"


class Race:
    """Starts holds and condemning at once, with a head start for either that makes both sides win at times."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self._head_start = 0.004

    def step(self, name: str) -> None:
        if name == "condemn":
            self.begun.set()
            time.sleep(max(self._head_start, 0))

    def await_start(self) -> None:
        self.begun.wait()
        time.sleep(max(-self._head_start, 0))

    def judge(self, held: int, of: int) -> None:
        """How fast the machine is just now shows in who won."""
        self.begun.clear()
        if held == 0:
            self._head_start += 0.004
        elif held == of:
            self._head_start -= 0.004
