"""The seizure game, short: on every stage the adversary loses, and wins with copies of the old masters."""

import shutil
from pathlib import Path

import pytest

from tests.crashes.faults import Died
from tests.seizure.game import Game, game
from tests.seizure.judges import Seizure
from tests.seizure.stages import CopiedStorage, folder_storage
from tests.seizure.theatre import openbao_storage
from tests.services.openbao import OpenBao
from tests.services.softhsm import SoftToken
from tests.vault.databases import Databases, on_postgresql, on_sqlite
from vault.destruction.carrying_out import recover_destructions
from vault.law.retention import Cause

SHORT = 8


def assert_lost(played: Game) -> Seizure:
    """The adversary has the recording and every use of the live masters, and no copy of the dead ones."""
    assert played.verdicts() == []
    return played.seize()


def assert_wins_with_copies(seizure: Seizure) -> None:
    """The positive control: else the game were blind. And every destruction record has said what copies undo."""
    spoils = seizure.attack_with_copies()
    destroyed = {record.id: record for record in seizure.workload.destroyed}
    assert set(spoils.opened) >= set(destroyed)
    for record in destroyed.values():
        if record.documents:
            assert set(spoils.documents[record.id]) == set(record.documents.values())
    assert seizure.stage.real.assurance.kind == "software"


@on_sqlite
def test_files_on_sqlite(scratch: Path, databases: Databases) -> None:
    with game(scratch / "game", databases) as played:
        played.printed = True
        played.workload.run(SHORT)
        assert_wins_with_copies(assert_lost(played))


@on_postgresql
def test_a_soft_token_on_postgresql(scratch: Path, databases: Databases, soft_token: SoftToken) -> None:
    storage = folder_storage(soft_token.folder)
    with game(scratch / "game", databases, uri=soft_token.uri, storage=storage) as played:
        played.workload.brief()
        assert_wins_with_copies(assert_lost(played))


@on_sqlite
def test_openbao_on_sqlite(scratch: Path, databases: Databases, own_openbao: OpenBao) -> None:
    engine, storage = own_openbao.make_engine(), openbao_storage(own_openbao)
    with game(scratch / "game", databases, uri=engine.uri, storage=storage) as played:
        played.workload.brief()
        assert_wins_with_copies(assert_lost(played))


@on_sqlite
def test_of_a_split_custodian_one_members_copy_is_worth_nothing(
    scratch: Path, databases: Databases, soft_token: SoftToken
) -> None:
    keys = scratch / "game" / "keys"
    both = folder_storage(keys, soft_token.folder)
    with game(scratch / "game", databases, uri=f"split:file:{keys},{soft_token.uri}", storage=both) as played:
        played.workload.brief()
        seizure = assert_lost(played)

        def put_back_one(place: Path) -> None:
            shutil.rmtree(keys)
            shutil.copytree(place / "0", keys)

        seizure.stage.storage = CopiedStorage(both.copy, put_back_one)
        spoils = seizure.attack_with_copies()
        assert set(spoils.opened).isdisjoint(record.id for record in played.workload.destroyed)
        seizure.stage.storage = both
        assert_wins_with_copies(seizure)


@on_sqlite
@pytest.mark.parametrize("step", ["stage", "condemn", "fence", "destroy master", "record"])
def test_a_destruction_that_dies_and_is_recovered(scratch: Path, databases: Databases, step: str) -> None:
    with game(scratch / "game", databases) as played:
        workload, world = played.workload, played.workload.stage.world
        workload.scene()

        def die(name: str) -> None:
            workload.step(name)
            if name == step:
                raise Died

        with pytest.raises(Died):
            world.sweep(die)
        world.restart()
        recovered = recover_destructions(world.vault)
        assert bool(recovered.undone) is (step in ("stage", "condemn"))
        # What was undone is begun again; what was finished leaves nothing to do.
        workload.destroy(Cause.SWEEP, workload.step)
        workload.clean_up()
        assert_lost(played)
