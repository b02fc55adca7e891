"""A real SIGKILL in a real process, at each named step; what was on the disk is all that is left."""

import json
import secrets
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.people import TERMS, founded_by, submitted
from tests.services.object_stores import ACCESS_KEY, SECRET_KEY
from tests.vault.databases import Databases, on_sqlite
from tests.vault.holding import place_hold, release_order
from tests.vault.world import START, Record, World
from vault.access import Role, authenticate, create_token
from vault.clock import SimulatedClock
from vault.destruction import recover_destructions
from vault.holds import copy_held_keys
from vault.home import Founding, Home, found_vault, open_vault
from vault.orders.drafting import draft_scrub

STEPS = ("intent", "create master", "stage", "condemn", "fence", "destroy master", "record")


@dataclass
class Scene:
    """Somebody due, somebody held and somebody young, in a vault at rest."""

    folder: Path
    clock: SimulatedClock
    world: World
    due: Record
    held: Record
    young: Record


def prepare(folder: Path, seaweedfs: str, databases: Databases) -> Scene:
    clock = SimulatedClock(START)
    founding = founded_by(
        Founding(
            home=folder / "home",
            objects=seaweedfs,
            objects_folder=folder / "objects",
            bucket=f"kills-{secrets.token_hex(8)}",
            region="us-east-1",
            custodian=f"file:{folder}/keys",
            time_zone="America/New_York",
            retention_months=24,
            access_key=ACCESS_KEY,
            secret_key=SECRET_KEY,
            database=databases.unused(),
        )
    )
    found_vault(founding, clock)
    with open_vault(folder / "home", clock) as vault:
        callers = [authenticate(vault, create_token(vault, role, role.value)) for role in (Role.CENTER, Role.REVIEWER)]
        world = World(folder, vault, clock, callers[0], callers[1], databases, Home.at(folder / "home").database)
        due, held = world.file(), world.file()
        hold = place_hold(vault, [held.id], "d").hold_id
        world.advance(days=800)
        young = world.file()
        orders = {
            "scrub": submitted(vault, draft_scrub(vault, TERMS).order),
            "release": release_order(vault, str(hold)),
        }
        ids = {operation: order.id for operation, order in orders.items()}
        facts = {"now": clock.now().isoformat(), "hold": hold, "custodian": founding.custodian, "orders": ids}
        (folder / "clock.json").write_text(json.dumps(facts))
    return Scene(folder, clock, world, due, held, young)


def dies(folder: Path, operation: str, step: str) -> bool:
    """Whether the process was killed, as it was meant to; it ended well if not."""
    command = [sys.executable, "-m", "tests.vault.victim", str(folder), operation, step]
    ended = subprocess.run(command, check=False, capture_output=True, cwd=Path(__file__).parents[2], timeout=60)
    assert ended.returncode in (0, -9), ended.stderr.decode()
    return ended.returncode == -9


def at_step(folder: Path, seaweedfs: str, databases: Databases, operation: str, step: str) -> None:
    scene = prepare(folder, seaweedfs, databases)
    world, clock, due, held, young = scene.world, scene.clock, scene.due, scene.held, scene.young
    assert dies(folder, operation, step)
    with open_vault(folder / "home", clock) as vault:
        world.vault = vault
        recovered = recover_destructions(vault)
        copy_held_keys(vault)
        condemned = step in STEPS[4:]
        assert (len(recovered.finished), len(recovered.undone)) == ((1, 0) if condemned else (0, 1))
        world.assert_two_masters()
        world.assert_readable(held)
        if operation == "release":
            world.assert_readable(due, young)
            assert bool(world.value("SELECT released_at IS NOT NULL FROM holds")) is condemned
        elif condemned:
            world.assert_destroyed(due)
        else:
            world.assert_readable(due)
        if operation == "scrub" and condemned:
            world.assert_destroyed(young)
        else:
            world.assert_readable(young)
    # The vault goes on.
    with open_vault(folder / "home", clock) as vault:
        world.vault = replace(vault)
        world.sweep()
        world.assert_destroyed(due)
    shutil.rmtree(folder)


@pytest.mark.parametrize("step", STEPS)
def test_a_sweep_that_is_killed(tmp_path: Path, seaweedfs: str, databases: Databases, step: str) -> None:
    at_step(tmp_path / "vault", seaweedfs, databases, "sweep", step)


@pytest.mark.parametrize("step", ["condemn", "fence", "record"])
@pytest.mark.parametrize("operation", ["scrub", "release"])
def test_a_scrub_or_release_that_is_killed(
    tmp_path: Path, seaweedfs: str, databases: Databases, operation: str, step: str
) -> None:
    at_step(tmp_path / "vault", seaweedfs, databases, operation, step)


def test_a_move_that_is_killed_again_and_again(tmp_path: Path, seaweedfs: str, databases: Databases) -> None:
    """One after the other, on one vault: of each the next knows nothing but what is on the disk."""
    scene = prepare(tmp_path / "vault", seaweedfs, databases)
    for step in ("stage", "fence", "record"):
        assert dies(scene.folder, "move", step)
        with open_vault(scene.folder / "home", scene.clock) as vault:
            scene.world.vault = vault
            recovered = recover_destructions(vault)
            assert (len(recovered.finished), len(recovered.undone)) == ((1, 0) if step in STEPS[4:] else (0, 1))
            scene.world.assert_two_masters()
            scene.world.assert_readable(scene.due, scene.held, scene.young)
    assert not dies(scene.folder, "move", "none")
    with open_vault(scene.folder / "home", scene.clock) as vault:
        scene.world.vault = vault
        scene.world.assert_two_masters()
        scene.world.sweep()
        scene.world.assert_readable(scene.held, scene.young)
        scene.world.assert_destroyed(scene.due)


@on_sqlite
def test_a_rebuild_that_is_killed_again_and_again(tmp_path: Path, seaweedfs: str, databases: Databases) -> None:
    scene = prepare(tmp_path / "vault", seaweedfs, databases)
    with open_vault(scene.folder / "home", scene.clock) as vault:
        scene.world.vault = vault
        scene.world.sweep()
    # Each of its effects is a boundary in `test_crashes_of_moves`; here ever more of them are on the disk.
    at = 1
    while dies(scene.folder, "rebuild", str(at)):
        at *= 4
    assert at > 16
    with open_vault(scene.folder / "home", scene.clock) as vault:
        scene.world.vault = vault
        assert recover_destructions(vault).masters_discarded == 0
        scene.world.assert_two_masters()
        scene.world.assert_readable(scene.held, scene.young)
        scene.world.assert_destroyed(scene.due)
