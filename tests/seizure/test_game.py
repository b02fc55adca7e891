"""The seizure game, short: on every stage the adversary loses, and wins with the old masters."""

from pathlib import Path

from tests.seizure.game import game
from tests.vault.databases import Databases, on_sqlite

SHORT = 8


@on_sqlite
def test_whoever_seizes_everything_but_the_dead_masters_gets_nothing(scratch: Path, databases: Databases) -> None:
    with game(scratch / "game", databases) as played:
        played.workload.run(SHORT)
        assert played.verdicts() == []
        seizure = played.seize()
        # The positive control: with what a backup of the key folder holds, he wins. And the record has said so.
        assert seizure.stage.real.assurance.kind == "software"
        spoils = seizure.attack(seizure.old_root_keys())
        assert set(spoils.opened) >= {record.id for record in played.workload.destroyed}
