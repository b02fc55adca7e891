"""A key service that ends the active master at the deadline by itself (S7): nothing held or preserved is lost by it.

On the strict stub of KMS, whose clock is the world's.
"""

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from keystore import Custodian, MasterState, Tree
from keystore.custodians import FileCustodian
from keystore.custodians.awskms import AwsKmsCustodian
from keystore.custodians.awskms_client import Kms, Place
from tests.people import COUNSEL, HEAD, founding_approvals, founding_policy
from tests.recovery.test_servings import serve
from tests.services.strict_kms import StrictKms
from tests.sunset.program import DEADLINE, OVER, SUNSET, end_program, events, ordered, sealed_off, to
from tests.vault.databases import on_sqlite
from tests.vault.holding import AUTHORITY, place_hold, release_hold
from tests.vault.memory_s3 import MemoryBucket
from tests.vault.world import World, open_world_vault
from vault import holds
from vault.alarms import alarms_of, spoken_alarms, spoken_renewal
from vault.catalogue import Catalogue, keys
from vault.catalogue.schema import access_tokens
from vault.certificates import issue_certificate
from vault.clocks.clock import SimulatedClock
from vault.destruction import releasing
from vault.destruction.carrying_out import recover_destructions, require_newest_keys
from vault.destruction.moving import masters_in_use, move_masters, renew_masters
from vault.errors import BusyError, CustodianUnavailableError, DamagedError, DestructionRefusedError, OrderRefusedError
from vault.founding import Founding, found_catalogue
from vault.holds import Kind, Scope, Terms, copying, placing
from vault.keys.custody import Custody
from vault.law.policy import Policy
from vault.law.retention import Cause
from vault.orders import Action
from vault.records import filing
from vault.recovery.rebuild import rebuild
from vault.serving.servings import settle_filings
from vault.sunset import latching
from vault.sunset.latching import tick


class OnClock(StrictKms):
    """KMS on the clock of a world."""

    clock: SimulatedClock

    def now(self) -> float:
        return self.clock.now().timestamp()


@pytest.fixture
def kms(quick_world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[AwsKmsCustodian]:
    """The world's masters stand at KMS, as they are made there: to end after a year."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "000000000000")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not a secret")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    with OnClock() as server:
        server.clock = quick_world.clock
        place = Place.from_uri(f"awskms:us-east-1?endpoint={server.url}")
        made = AwsKmsCustodian(place, Kms(place), sleep=lambda _: None)
        object.__setattr__(quick_world.vault, "custody", Custody.of(quick_world.custodian, made))
        move_masters(quick_world.vault, made.uri, "test")
        yield made


def renewed(world: World) -> list[Tree]:
    return [one.tree for one in renew_masters(world.vault, "test")]


def ends_at_deadline(world: World) -> dict[Tree, bool]:
    return {one.tree: one.expires_at == OVER for one in masters_in_use(world.vault)}


def alarmed(world: World) -> bool:
    return any("must not any more" in sentence for sentence in spoken_alarms(alarms_of(world.vault)))


BOUND = {Tree.ACTIVE: True, Tree.HELD: False}
FREE = {Tree.ACTIVE: False, Tree.HELD: False}


def test_what_is_held_outlives_the_end_and_the_rest_dies_by_it(quick_world: World, kms: AwsKmsCustodian) -> None:
    """S7, S4, S5: bound to the deadline by the renewal after the policy; then the software is dead until it is over."""
    world = quick_world
    gone, held, receiving = world.file(), world.file(), world.open()
    hold = place_hold(world.vault, [held.id], "16-cv-100").hold_id
    assert hold is not None
    end_program(world)
    assert ends_at_deadline(world) == FREE
    assert renewed(world) == [Tree.ACTIVE]
    assert ends_at_deadline(world) == BOUND
    # Destroying makes another master, with the same end. Near it nothing is renewed, and nothing new is opened.
    world.advance(hours=80)
    assert world.sweep().condemned == 1
    assert ends_at_deadline(world) == BOUND
    world.upload(receiving := world.open())
    to(world, OVER - timedelta(minutes=9))
    assert renewed(world) == []
    with pytest.raises(BusyError, match="shortly before the deadline"):
        world.open()
    world.assert_readable(gone, held)
    to(world, OVER + timedelta(days=3))
    # Nobody but the held are read; nothing but the sunset is carried out, and nobody is filed.
    assert sealed_off(world, gone.id)
    world.assert_readable(held)
    assert ends_at_deadline(world) == BOUND
    assert (renewed(world), recover_destructions(world.vault).undone) == ([], [])
    with pytest.raises(BusyError):
        world.open()
    assert "its outcome is DESTROY" in tick(world.vault)[0]
    assert any("ended by itself on 2026-03-09T04:00:00Z" in said for said in spoken_alarms(alarms_of(world.vault)))
    assert sealed_off(world, gone.id)
    for cause in (Cause.SWEEP, Cause.SCRUB):
        with pytest.raises(DestructionRefusedError, match="ended with the deadline"):
            world.destroy(cause)
    with pytest.raises(DestructionRefusedError, match="ended with the deadline"):
        release_hold(world.vault, hold)
    done = world.destroy(Cause.SUNSET)
    assert (done.condemned, done.observed["survivors_lost"]) == (2, 0)
    assert done.observed["ended_by_custodian_at"] == OVER.isoformat()
    assert kms.describe(str(done.old_master)) is MasterState.ABSENT
    world.assert_destroyed(gone, receiving)
    world.assert_readable(held)
    paper = issue_certificate(world.vault, done.id).content
    assert paper["counts"]["destroyed"] == 2
    assert f"told to destroy the master key by itself at {OVER.isoformat()}" in paper["deadline"]["why"]
    # The vault goes on: the held are in both trees again, what is filed now is not of the sunset.
    assert (ends_at_deadline(world), spoken_alarms(alarms_of(world.vault))) == (FREE, [])
    after = world.file()
    world.assert_readable(held, after)
    assert world.sweep().condemned == 0
    # The release that had to wait is carried out by the next sweep.
    assert len(releasing.finish_endings(world.vault)) == 1
    assert world.destroy(Cause.SUNSET).condemned == 1
    world.assert_destroyed(held)
    world.assert_readable(after)
    assert len(kms.names()) == 2


@on_sqlite
def test_a_vault_that_is_founded_with_a_sunset_ends_with_it(
    quick_world: World, kms: AwsKmsCustodian, scratch: Path
) -> None:
    """S7: from its first master on, or once it is moved; a custodian that cannot end masters is told nothing."""
    document = replace(Policy.decode(founding_policy()), sunset=SUNSET).encode()
    approvals = founding_approvals(document)
    files = FileCustodian(scratch / "keys", away_from=scratch / "elsewhere")
    both: tuple[Custodian, ...] = (kms, files)
    for number, custodian in enumerate(both):
        home = scratch / str(number) / "home"
        home.mkdir(parents=True, mode=0o700)
        database = quick_world.databases.new(home)
        vault = open_world_vault(home.parent, bytes([number] * 16), MemoryBucket(), quick_world.clock, database)
        object.__setattr__(vault, "custody", Custody.of(files, kms))
        choices = Founding(home, "-", home, "-", "-", custodian.uri, "America/New_York", 24)
        assert found_catalogue(vault, custodian, replace(choices, policy=document, approvals=approvals))
        ends = {one.tree: one.expires_at == OVER for one in masters_in_use(vault)}
        assert ends == (FREE if number else BOUND)
        with vault.catalogue.read() as tx:
            planned = [keys.planned_end(tx, one.master) for one in masters_in_use(vault)]
        assert planned == [None if number else OVER, None]
        assert renew_masters(vault, "test") == []
        # Moved to where masters can be ended, it is told there.
        move_masters(vault, kms.uri, "test")
        assert {one.tree: one.expires_at == OVER for one in masters_in_use(vault)} == BOUND
        vault.catalogue.close()


@on_sqlite
def test_a_crash_over_an_ended_tree_is_undone_or_finished(quick_world: World, kms: AwsKmsCustodian) -> None:
    """S7: up to the condemning it is undone, and done again; from there on it is carried to its end."""
    world = quick_world
    gone, held = world.file(), world.file()
    place_hold(world.vault, [held.id], "16-cv-100")
    end_program(world)
    assert renewed(world) == [Tree.ACTIVE]
    to(world, OVER)
    tick(world.vault)
    for step in ("create master", "stage", "condemn", "fence", "destroy master", "record"):

        def die(name: str, last: str = step) -> None:
            if name == last:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            world.destroy(Cause.SUNSET, die)
        world.assert_readable(held)
        found = recover_destructions(world.vault)
        assert len(found.undone if step in ("create master", "stage", "condemn") else found.finished) == 1
        world.assert_readable(held)
        if found.finished:
            break
    world.assert_destroyed(gone)
    world.assert_readable(held, world.file())
    assert len(kms.names()) == 2


@on_sqlite
def test_what_is_preserved_or_held_for_the_future_takes_the_end_away(quick_world: World, kms: AwsKmsCustodian) -> None:
    """S2, S7: the end follows what stands; while it is wrong, there is an alarm."""
    world = quick_world
    record = world.file()
    end_program(world)
    keep = [["2026-01-01", "2026-01-31"]]
    for action, scope in (
        (Action.PRESERVE, {**DEADLINE, "until": "2026-06-30"}),
        (Action.PARTIAL, {**DEADLINE, "until": "2026-06-30", "keep": keep}),
    ):
        assert renewed(world) == [Tree.ACTIVE]
        assert (ends_at_deadline(world), alarmed(world)) == (BOUND, False)
        ordered(world, action, scope, HEAD, COUNSEL)
        assert alarmed(world)
        assert renewed(world) == [Tree.ACTIVE]
        assert (ends_at_deadline(world), alarmed(world), renewed(world)) == (FREE, False, [])
        world.advance(seconds=1)
        ordered(world, Action.DESTROY_AT_SUNSET, DEADLINE, HEAD, COUNSEL)
        world.advance(seconds=1)
    assert renewed(world) == [Tree.ACTIVE]
    terms = Terms(Kind.COURT_ORDER, AUTHORITY, "2016-080306")
    holds.place_hold(world.vault, terms, Scope(program=True, includes_future=False), "counsel")
    assert not alarmed(world)
    holds.place_hold(world.vault, terms, Scope(program=True, includes_future=True), "counsel")
    assert alarmed(world)
    # In the last night it is said that the next sweep may be too late.
    early = spoken_renewal(alarms_of(world.vault))
    assert early is not None
    assert "the destroyer's next `shredvault sweep` replaces it" in early
    to(world, OVER - timedelta(hours=35))
    late = spoken_renewal(alarms_of(world.vault))
    assert late is not None
    assert late.startswith("RECORDS ARE LOST unless the destroyer runs `shredvault custodian renew` NOW.")
    assert spoken_alarms(alarms_of(world.vault))[0] == late
    assert renewed(world) == [Tree.ACTIVE]
    assert (ends_at_deadline(world), alarmed(world), renewed(world)) == (FREE, False, [])
    to(world, OVER - timedelta(minutes=1))
    last = world.file()
    to(world, OVER + timedelta(days=1))
    assert any("2 records are held" in sentence for sentence in tick(world.vault))
    assert world.destroy(Cause.SUNSET).condemned == 0
    world.assert_readable(record, last)


@pytest.mark.parametrize("step", ["create master", "fence"])
def test_a_renewal_that_was_cut_off_does_not_stop_the_next_one(
    quick_world: World, kms: AwsKmsCustodian, step: str
) -> None:
    """S7: it was left unfinished by a `hold place` whose key service failed, and the deadline does not wait."""
    world = quick_world
    record = world.file()
    end_program(world)
    assert renewed(world) == [Tree.ACTIVE]
    holds.place_hold(world.vault, Terms(Kind.COURT_ORDER, AUTHORITY, "2016-080306"), Scope(program=True), "counsel")

    def fail(now: str) -> None:
        if now == step:
            raise CustodianUnavailableError("KMS does not answer.")

    with pytest.raises(CustodianUnavailableError):
        renew_masters(world.vault, "test", fail)
    assert renewed(world) == ([] if step == "fence" else [Tree.ACTIVE])
    assert (ends_at_deadline(world), alarmed(world)) == (FREE, False)
    to(world, OVER + timedelta(days=1))
    world.assert_readable(record)
    assert len(kms.names()) == 2


@on_sqlite
@pytest.mark.parametrize("replaced", [True, False], ids=["replaced in time", "nobody replaced the key"])
def test_everything_is_dead_around_the_deadline_and_a_hold_captures_what_is_filed(
    quick_world: World, kms: AwsKmsCustodian, *, replaced: bool
) -> None:
    """S4, S5, S7, H8: who was captured lives, who was not goes with the first start, and the paper says why."""
    world = quick_world
    gone = world.file()
    end_program(world)
    assert renewed(world) == [Tree.ACTIVE]
    terms = Terms(Kind.COURT_ORDER, AUTHORITY, "2016-080306")
    holds.place_hold(world.vault, terms, Scope(filed_from=date(2026, 1, 7), includes_future=True), "counsel")
    assert (alarmed(world), renewed(world) if replaced else []) == (True, [Tree.ACTIVE] * replaced)
    world.advance(days=2)
    captured = world.file()
    # The service looks at the clocks every minute; the destroyer may be dead for weeks already.
    tick(world.vault)
    to(world, OVER - timedelta(hours=30))
    # From here on nothing runs, neither service nor destroyer, until days after the deadline.
    to(world, OVER + timedelta(days=3))
    assert sealed_off(world, gone.id)
    world.assert_readable(captured)
    first = tick(world.vault)
    assert "It was over since 2026-03-09T04:00:00Z; Shredvault was not running." in first[0]
    assert any("1 record is held past the deadline" in sentence for sentence in first)
    # With the hold the key service was to end nothing: never lost before its time goes first. Else it did.
    assert ends_at_deadline(world) == (FREE if replaced else BOUND)
    done = world.destroy(Cause.SUNSET)
    assert (done.condemned, done.observed.get("survivors_lost", 0)) == (1, 0)
    world.assert_destroyed(gone)
    world.assert_readable(captured, world.file())
    deadline = issue_certificate(world.vault, done.id).content["deadline"]
    assert (deadline["met"], bool(deadline["why"])) == (False, True)


@on_sqlite
def test_a_copy_that_was_cut_off_is_made_good_before_the_end(
    quick_world: World, kms: AwsKmsCustodian, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S7, H2: the look at the clocks in the last day makes it; without it, the loss is told, and is no destruction."""
    world = quick_world
    copied, not_copied, gone = world.file(), world.file(), world.file()
    end_program(world)
    assert renewed(world) == [Tree.ACTIVE]
    monkeypatch.setattr(placing, "copy_held_keys", lambda _: 0)
    place_hold(world.vault, [copied.id], "16-cv-100")
    to(world, OVER - timedelta(hours=23))
    tick(world.vault)
    monkeypatch.setattr(latching, "copy_held_keys", lambda _: 0)
    place_hold(world.vault, [not_copied.id], "16-cv-101")
    to(world, OVER)
    tick(world.vault)
    assert copying.copy_held_keys(world.vault) == 0
    done = world.destroy(Cause.SUNSET)
    assert (done.condemned, done.observed["survivors_lost"]) == (1, 1)
    assert events(world, "survivors%") == ["survivors without a key"]
    world.assert_destroyed(gone)
    world.assert_readable(copied)
    with pytest.raises(DamagedError, match="incident"):
        world.fetch(not_copied)
    assert kms.names()


@on_sqlite
def test_keys_that_ended_against_a_decision_are_an_incident(quick_world: World, kms: AwsKmsCustodian) -> None:
    """S7: the software died in the night after PRESERVE, and was let lie. Nothing calls that a destruction."""
    world = quick_world
    lost, held = world.file(), world.file()
    place_hold(world.vault, [held.id], "16-cv-100")
    end_program(world)
    assert renewed(world) == [Tree.ACTIVE]
    ordered(world, Action.PRESERVE, {**DEADLINE, "until": "2026-06-30"}, HEAD, COUNSEL)
    to(world, OVER)
    tick(world.vault)
    with pytest.raises(DestructionRefusedError, match="against what was decided"):
        world.destroy(Cause.SUNSET)
    assert not sealed_off(world, held.id)
    world.assert_readable(held)
    with world.vault.catalogue.read() as tx:
        tokens = [dict(row._mapping) for row in tx.execute(sa.select(access_tokens))]
    world.vault.catalogue.close()
    world.database = world.databases.new(world.folder / "home")
    world.vault = replace(world.vault, catalogue=Catalogue(world.database))
    world.vault.catalogue.migrate()
    with pytest.raises(DamagedError, match="1 record has a manifest and no key"):
        rebuild(world.vault, [kms.uri])
    assert rebuild(world.vault, [kms.uri], tokens, leave_lost=True).lost == [lost.id]
    recover_destructions(world.vault)
    world.assert_readable(held, world.file())


@on_sqlite
def test_a_service_that_died_with_a_completion_cut_off_starts_again_after_the_end(
    quick_world: World, kms: AwsKmsCustodian, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S7: what was acknowledged to nobody cannot be made good without its key, and does not keep the sunset waiting."""
    world = quick_world
    gone, cut_off, held = world.file(), world.open(), world.file()
    place_hold(world.vault, [held.id], "16-cv-100")
    world.upload(cut_off)
    end_program(world)
    assert renewed(world) == [Tree.ACTIVE]
    serve(world)
    with monkeypatch.context() as broken:
        broken.setattr(filing, "note_filing", dies)
        with pytest.raises(KeyboardInterrupt):
            world.complete(cut_off)
    assert world.vault.bucket.get(f"records/{cut_off.id}", limit=10**6)
    to(world, OVER)
    tick(world.vault)
    with pytest.raises(DestructionRefusedError, match="were cut off"):
        world.destroy(Cause.SUNSET)
    recover_destructions_after_start(world)
    assert world.destroy(Cause.SUNSET).condemned == 2
    world.assert_destroyed(gone, cut_off)
    world.assert_readable(held, world.file())
    assert kms.names()


def dies(*_: object) -> None:
    raise KeyboardInterrupt


def recover_destructions_after_start(world: World) -> None:
    """What `serve` does before it listens."""
    require_newest_keys(world.vault)
    assert settle_filings(world.vault) == 0
    recover_destructions(world.vault)
    tick(world.vault)
    assert copying.copy_held_keys(world.vault) == 0


@on_sqlite
def test_a_hold_on_a_filing_period_takes_the_end_away_where_a_completion_can_come_under_it(
    quick_world: World, kms: AwsKmsCustodian
) -> None:
    """S7, H8: without future captures, too: who was opened before is held from the completion on, without a copy."""
    world = quick_world
    end_program(world)
    before = world.open()
    world.upload(before)
    world.advance(days=1)
    assert renewed(world) == [Tree.ACTIVE]
    terms = Terms(Kind.COURT_ORDER, AUTHORITY, "2016-080306")
    holds.place_hold(world.vault, terms, Scope(filed_from=date(2026, 1, 6), includes_future=False), "counsel")
    world.advance(hours=2)
    world.complete(before)
    renewed(world)
    # The software is dead from here on, until after the deadline.
    to(world, OVER + timedelta(days=1))
    tick(world.vault)
    world.destroy(Cause.SUNSET)
    world.assert_readable(before)


@on_sqlite
def test_a_decision_for_ever_stops_nothing_that_takes_the_end_away(quick_world: World, kms: AwsKmsCustodian) -> None:
    """S2, S7: 9999-12-31 has no end in New York. It is refused when it is signed, not met at the deadline."""
    world = quick_world
    end_program(world)
    for action, scope in (
        (Action.PRESERVE, {**DEADLINE, "until": "9999-12-31"}),
        (Action.PARTIAL, {**DEADLINE, "until": "2026-06-30", "keep": [["0001-01-01", "2026-01-31"]]}),
        (Action.PARTIAL, {**DEADLINE, "until": "2026-06-30", "keep": [["2026-01-01", "9999-12-31"]]}),
    ):
        with pytest.raises(OrderRefusedError, match="1970 to 8999"):
            ordered(world, action, scope, HEAD, COUNSEL)
    ordered(world, Action.PRESERVE, {**DEADLINE, "until": "8999-12-31"}, HEAD, COUNSEL)
    assert (renewed(world), ends_at_deadline(world)) == ([], FREE)
    record = world.file()
    to(world, OVER)
    assert "its outcome is PRESERVE" in tick(world.vault)[0]
    world.advance(days=100)
    assert world.sweep().condemned == 0
    world.assert_readable(record)
