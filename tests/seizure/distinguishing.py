"""W2: the adversary is told a name, and is to say whether the person whose record was destroyed bore it.

In every trial a record is filed, dies, and a survivor is filed under the same name or another, by a coin. The adversary
has the recording, every key that he reaches, and the survivor's content. He looks for

1. anything that rows about both records have in common, in whatever table, and other records have not
2. any tag of the name in the dead one's rows: digests, and keyed tags under every key that he has
3. sizes: sealed sheets and slips of equal content are equally long

Where he finds nothing he throws a coin.
"""

import hmac
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pytest

from tests.seizure.byte_scan import digests
from tests.seizure.game import game
from tests.vault.databases import Databases
from tests.vault.world import Record, World, png
from vault.context import note
from vault.law.retention import Cause
from vault.records import uploads

_WORD = re.compile(rb"[A-Za-z0-9+/_=-]{8,}")
"""A part of a text that could be a tag."""


class Trial(NamedTuple):
    name: str
    same: bool
    dead: Record
    survivor: Record


def play(folder: Path, databases: Databases, *, trials: int, seed: int) -> int:
    """Play; return how often the adversary was right."""
    with game(folder, databases, seed=seed) as played:
        workload, world = played.workload, played.workload.stage.world
        coin = Random(seed + 1)
        dead = [(name := _name(coin), _file(world, name)) for _ in range(trials)]
        world.advance(days=800)
        rounds: list[Trial] = []
        for name, record in dead:
            same = coin.random() < 0.5
            rounds.append(Trial(name, same, record, _file(world, name if same else _name(coin))))
        values, sizes = _stored(world)
        workload.snapshot()
        workload.destroy(Cause.SWEEP, workload.step)
        for one in rounds:
            workload.places |= {record.id: world.place(record) for record in (one.dead, one.survivor)}
        workload.destroyed += [one.dead for one in rounds]
        workload.living += [one.survivor for one in rounds]
        spoils = played.seize().attack()
        assert {one.survivor.id for one in rounds} <= set(spoils.opened), "the adversary is blind"
        keys = [world.vault.vault_id, *spoils.keys, *spoils.index_keys, *spoils.upper_keys]
        common = Counter(value for found in values.values() for value in found)
        right = 0
        for one in rounds:
            ours, theirs = values[one.dead.id], values[one.survivor.id]
            shared = any(common[value] == 2 for value in ours & theirs)
            tagged = shared or not ours.isdisjoint(_tags(one.name, keys))
            if tagged:
                guess = True
            elif sizes[one.dead.id] != sizes[one.survivor.id]:
                guess = False
            else:
                guess = coin.random() < 0.5
            right += guess is one.same
        return right


def add_global_index(patch: pytest.MonkeyPatch) -> None:
    """The mutant: names are indexed under one key for all."""

    def blind(_: Any, __: Any, name: str) -> bytes:
        return hmac.digest(b"one key for all", name.encode(), "sha256")[:16]

    patch.setattr(uploads, "name_tag", blind)


def add_index_in_the_journal(patch: pytest.MonkeyPatch) -> None:
    """The mutant: a tag of every file name under one key for all, in a fact of the journal."""
    finish = uploads.Upload.finish

    def noted(self: uploads.Upload) -> uploads.Filed:
        tag = hmac.digest(b"one key for all", self._name.encode(), "sha256").hex()
        with self._vault.catalogue.write() as tx:
            note(tx, self._vault.clock.now(), "indexed", self.record_id, {"tag": tag})
        return finish(self)

    patch.setattr(uploads.Upload, "finish", noted)


def _name(coin: Random) -> str:
    return f"{coin.getrandbits(8 * coin.randint(6, 14)):x}"


def _file(world: World, name: str) -> Record:
    record = world.open(name=name)
    world.upload(record, f"{name}.png", png(300))
    world.complete(record)
    return record


def _stored(world: World) -> tuple[dict[str, set[bytes]], dict[str, list[int]]]:
    """What the catalogue has of each record, in whatever table: values that could be tags, and the sizes of seals."""
    values: dict[str, set[bytes]] = {record.id: set() for record in world.records}
    sizes: dict[str, list[int]] = {record.id: [] for record in world.records}
    for (table,) in world.rows("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"):
        for row in world.rows(f"SELECT * FROM {table}"):
            cells = row._mapping
            owners = values.keys() & {cell for cell in cells.values() if isinstance(cell, str)}
            found = {value for cell in cells.values() for value in _possible_tags(cell)}
            for owner in owners:
                values[owner] |= found - {owner.encode()}
                sizes[owner] += [len(cells[name]) for name in ("sheet", "slip") if cells.get(name)]
    return values, sizes


def _possible_tags(cell: object) -> Iterator[bytes]:
    """Bytes as they are; of a text each word, for it may be JSON with hexadecimal or base64 in it."""
    if isinstance(cell, bytes | memoryview):
        yield bytes(cell)
    elif isinstance(cell, str):
        yield from _WORD.findall(cell.encode())


def _tags(name: str, keys: list[bytes]) -> set[bytes]:
    texts = [name.encode(), f"{name}.png".encode()]
    found = {digest[:size] for text in texts for digest in digests(text).values() for size in (16, 20, 32)}
    for key in keys:
        found |= {hmac.digest(key, text, "sha256")[:size] for text in texts for size in (16, 32)}
    return found | {tag.hex().encode() for tag in found}
