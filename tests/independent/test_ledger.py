"""The second reader of the ledger reads what the product wrote, and refuses every change, gap and other history."""

from random import Random

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.independent.ledger import History, read_history
from tests.independent.seal import UnreadableError
from tests.vault.databases import on_sqlite
from tests.vault.world import World
from vault.context import note
from vault.ledger.publishing import bucket_objects, publish
from vault.ledger.showing import checkpoint_at, latest_checkpoint
from vault.log import SigningKey
from vault.log.stored import root_at

CHANGES = 300


def read(objects: dict[str, bytes], world: World) -> History:
    """The history, with every checkpoint in it checked; the last is over all of it."""
    history = read_history(objects, world.vault.vault_id)
    sizes = [history.require(one, history.keys()) for one in history.notes]
    assert sizes[-1] == len(history.entries)
    return history


@pytest.fixture
def told(quick_world: World) -> dict[str, bytes]:
    for number in range(5):
        with quick_world.vault.catalogue.write() as tx:
            note(tx, quick_world.clock.now(), "tested", f"s{number}", {"n": number, "word": "é"})
        publish(quick_world.vault)
    return dict(bucket_objects(quick_world.vault.bucket))


@on_sqlite
def test_it_finds_the_roots_that_the_product_signs(quick_world: World, told: dict[str, bytes]) -> None:
    vault, history = quick_world.vault, read(told, quick_world)
    assert history.keys() == {str(vault.signing.verifier)}
    with vault.catalogue.read() as tx:
        assert history.roots == [root_at(tx, size) for size in range(len(history.entries) + 1)]
    for size in range(1, len(history.roots)):
        assert history.require(checkpoint_at(vault, size), history.keys()) == size


@on_sqlite
def test_it_refuses_changes_gaps_and_other_histories(quick_world: World, told: dict[str, bytes]) -> None:
    random, names = Random(5), sorted(told)
    for _ in range(CHANGES):
        name = random.choice(names)
        changed = bytearray(told[name])
        changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
        with pytest.raises(UnreadableError):
            read(told | {name: bytes(changed)}, quick_world)
    for name in names[:-1]:
        with pytest.raises(UnreadableError):
            read({one: blob for one, blob in told.items() if one != name}, quick_world)
    history = read(told, quick_world)
    other = SigningKey(quick_world.vault.signing.verifier.name, Ed25519PrivateKey.generate())
    size = len(history.entries)
    for signed in (
        other.sign_checkpoint(size, history.roots[size]),
        quick_world.vault.signing.sign_checkpoint(size, history.roots[size - 1]),
        quick_world.vault.signing.sign_checkpoint(size + 1, history.roots[size]),
    ):
        with pytest.raises(UnreadableError):
            history.require(signed, history.keys())
    assert history.require(latest_checkpoint(quick_world.vault), history.keys()) == size
