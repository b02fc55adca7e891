"""Every way to make data unreadable, by name: each is tried on a record that is held, and none reaches it.

A command, route, or right in the database that is new is in no list here, and the tests say so.
"""

from collections.abc import Callable
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Final

import pytest

from api.cli.app import app
from keystore import Tree
from tests.cli.listed import commands
from tests.crashes.faults import Died, Fuse, arm, disarm
from tests.people import APPROVERS as THREE
from tests.people import OFFICER, TERMS, frozen, submitted
from tests.recovery.test_rebuilding import rebuilt
from tests.vault.databases import Databases
from tests.vault.holding import adopt, place_hold, release_hold
from tests.vault.world import Record, World
from vault import holds
from vault.destruction.carrying_out import carry_out, recover_destructions
from vault.destruction.drafting import draft_destroy
from vault.destruction.frozen_lists import freeze_move, freeze_ordered
from vault.destruction.moving import renew_masters
from vault.destruction.reclaim import reclaim, sweep_litter
from vault.destruction.releasing import finish_endings
from vault.errors import OrderRefusedError, VaultError
from vault.holds import Kind, Scope, Terms
from vault.law.policy import Sunset
from vault.law.retention import Cause
from vault.records.deciding import decide_record
from vault.sunset.latching import tick

ENDING: Final = {
    *("sweep", "scrub", "destroy", "recover", "rebuild", "serve", "demo", "rehearse"),
    *("hold release", "policy adopt", "custodian move", "custodian renew", "order submit", "hold place", "hold widen"),
}
"""Commands that destroy a key, or by which something falls under a destruction. Each has a way below; `serve` does at
its start what `recover` and `rebuild` do and lets a deadline latch; `order submit`, `hold place` and `hold widen` renew
a master that would end with what is kept, as `custodian renew` does; demo and rehearsal have vaults of their own."""
KEEPING: Final = {
    *("init", "status", "access create", "access list", "access revoke", "hold keygen", "hold unseal"),
    *("hold extend", "hold answer", "hold list", "hold show", "order sign", "order check"),
    *("order list", "order show", "order withdraw", "order draft scrub", "order draft destroy"),
    *("sunset status", "sunset decide", "destruction list", "destruction show", "policy draft", "policy show"),
    *("policy check", "policy propose", "certificate list", "certificate show", "certificate export"),
    *(
        "certificate verify",
        "custodian show",
        "custodian allow",
        "custodian forget",
        "ledger key",
        "ledger checkpoint",
        "ledger prove",
    ),
    *("ledger export", "ledger verify", "ledger witness", "ledger cosigned", "time show", "time order", "time clear"),
    *("receipt show", "receipt print", "order draft release", "hold acknowledge"),
}
"""Commands that say, write down or protect."""


def test_every_command_is_known_to_end_something_or_not() -> None:
    assert set(commands(app)) == ENDING | KEEPING


def test_no_route_destroys() -> None:
    """What is asked for over HTTP is filed, read, held or handed in; nothing there can reach `carry_out`."""
    routes = "".join(path.read_text("utf-8") for path in sorted(Path(__file__).parents[2].glob("api/http/*.py")))
    for door in (
        "carry_out",
        "vault.destruction.carrying_out",
        "vault.destruction.reclaim",
        "freeze_",
        "finish_endings",
        "adopt_policy",
        "renew_masters",
        "move_masters",
    ):
        assert door not in routes


# --- the ways -----------------------------------------------------------------------------------------------


def sweep(world: World, _: Record) -> None:
    world.advance(days=900)
    world.sweep()


def scrub(world: World, _: Record) -> None:
    world.scrub()


def destroy_by_name(world: World, held: Record) -> None:
    other = world.file()
    with pytest.raises(OrderRefusedError):
        draft_destroy(world.vault, [held.id], TERMS)
    order = draft_destroy(world.vault, [held.id, other.id], TERMS).order
    carry_out(world.vault, freeze_ordered(world.vault, submitted(world.vault, order, OFFICER, *THREE).id))
    world.assert_destroyed(other)


def a_list_from_before_the_hold(world: World, _: Record) -> None:
    late = world.file()
    destruction = frozen(world.vault, Cause.SCRUB)
    place_hold(world.vault, [late.id], "late")
    carry_out(world.vault, destruction)
    world.assert_readable(late)


def sunset(world: World, _: Record) -> None:
    adopt(
        world.vault,
        sunset=Sunset(date(2026, 1, 2), date(2026, 2, 20), date(2026, 3, 8), "DESTROY", {"program": True}),
    )
    world.advance(days=90)
    tick(world.vault)
    done = world.destroy(Cause.SUNSET)
    assert done.condemned == 1


def a_shorter_retention(world: World, held: Record) -> None:
    adopt(world.vault, retention_months=1)
    world.advance(days=60)
    sweep(world, held)


def keeping_nothing(world: World, held: Record) -> None:
    adopt(world.vault, mode="no-retain")
    with suppress(VaultError):
        decide_record(world.vault, world.center, held.id)
    sweep(world, held)


def the_release_of_another_hold(world: World, held: Record) -> None:
    other = place_hold(world.vault, [held.id], "another").hold_id
    assert other is not None
    release_hold(world.vault, other)
    finish_endings(world.vault)
    sweep(world, held)


def recovery(world: World, held: Record) -> None:
    world.advance(days=900)
    arm(world, Fuse(26, dies=True))
    with suppress(Died):
        world.sweep()
    disarm(world)
    world.restart()
    recover_destructions(world.vault)
    cleanup(world, held)


def cleanup(world: World, _: Record) -> None:
    reclaim(world.vault)
    world.advance(days=40)
    sweep_litter(world.vault)


def a_move(world: World, _: Record) -> None:
    for tree in Tree:
        carry_out(world.vault, freeze_move(world.vault, tree, world.custodian.uri, "test"))


def renewal(world: World, _: Record) -> None:
    world.advance(days=900)
    renew_masters(world.vault, "test")


def statements(world: World, held: Record) -> None:
    """Rights that the destroyer has in the database, on the rows of a held record."""
    world.scrub()
    terms = Terms(Kind.AUDIT, "City Comptroller", "2")
    holds.place_hold(world.vault, terms, Scope(filed_from=date(2026, 1, 1)), "counsel")
    cohort, _ = world.place(held)
    for statement in (
        f"UPDATE records SET condemned_by = (SELECT MAX(id) FROM destructions) WHERE id = '{held.id}'",
        f"UPDATE cohorts SET closed_at = 1, condemned_by = (SELECT MAX(id) FROM destructions) WHERE id = {cohort}",
        f"UPDATE records SET reclaimed = true, sheet = NULL WHERE id = '{held.id}'",
        f"DELETE FROM documents WHERE record_id = '{held.id}'",
        "UPDATE masters SET given_up_at = 1 WHERE destroyed_at IS NULL",
        "UPDATE hold_scopes SET ends_at = 1, ended_at = 1",
        "UPDATE hold_records SET ends_at = 1, ended_at = 1",
        "UPDATE holds SET released_at = 1",
    ):
        with pytest.raises(VaultError):
            world.run(statement)


WAYS: Final = (
    *(sweep, scrub, destroy_by_name, a_list_from_before_the_hold, sunset, a_shorter_retention, keeping_nothing),
    *(the_release_of_another_hold, recovery, cleanup, a_move, renewal, statements),
)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_no_way_reaches_a_record_that_is_held(
    quick_world: World, databases: Databases, way: Callable[[World, Record], None]
) -> None:
    """H8, H10: and a catalogue that is made again afterwards has it too (H12)."""
    held, _unheld = quick_world.file(), quick_world.file()
    holds.place_hold(quick_world.vault, Terms(Kind.COURT_ORDER, "Supreme Court", "1"), Scope((held.id,)), "counsel")
    way(quick_world, held)
    quick_world.assert_readable(held)
    again, _ = rebuilt(quick_world, databases)
    again.assert_readable(held)
