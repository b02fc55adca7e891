"""Attacks on the keys: with stale copies, clocks of several hosts, and whoever writes in one of the stores.

Each once succeeded.
"""

import shutil
from pathlib import Path

from tests.vault.databases import on_sqlite
from tests.vault.memory_s3 import MemoryBucket
from tests.vault.world import Sealed, World
from vault.alarms import alarms_of, spoken_alarms


def everything(world: World) -> Sealed:
    """All that the vault ever wrote, and the catalogue as it is."""
    bucket = world.vault.bucket
    assert isinstance(bucket, MemoryBucket)
    sealed = Sealed()
    sealed.gather(world, [content for name, content in bucket.s3.ever if name.startswith("keystore/")])
    return sealed


@on_sqlite
def test_a_master_that_comes_back_with_a_backup_of_its_custodian_dies_again(quick_world: World, tmp_path: Path) -> None:
    """Somebody brings back what the custodian had while a destruction was under way: both masters, the dead one too."""
    world = quick_world
    dead = world.file()
    world.advance(days=400)
    kept = world.file()
    world.advance(days=400)
    keys, backup = world.folder / "keys", tmp_path / "backup"

    def copied(step: str) -> None:
        if step == "destroy master":
            shutil.copytree(keys, backup)

    world.sweep(copied)
    place = world.place(dead)
    assert place not in everything(world).reachable(world)
    for master in backup.iterdir():
        shutil.copy2(master, keys)
    assert place in everything(world).reachable(world)

    assert world.sweep().listed == 0, "an ordinary night"
    assert place not in everything(world).reachable(world)
    world.assert_readable(kept)
    world.assert_two_masters()
    assert world.rows("SELECT event FROM journal WHERE event = 'destroyed master found again'") != []
    assert "found again" in " ".join(spoken_alarms(alarms_of(world.vault)))
    world.advance(days=60)
    assert "found again" not in " ".join(spoken_alarms(alarms_of(world.vault)))
