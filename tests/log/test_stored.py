"""The tree as it is stored with the journal, on both databases: what is noted, published, proved and rebuilt."""

import json
import stat

import pytest

from tests.independent.ledger import require_growth
from tests.vault.world import World
from vault import canonical
from vault.catalogue import Transaction
from vault.context import note
from vault.errors import HomeError, NotFoundError
from vault.ledger.publishing import bucket_objects, publish, read_objects
from vault.ledger.showing import (
    checkpoint_at,
    consistency,
    entry_number,
    inclusion,
    latest_checkpoint,
    leaf_of,
    prove_entry,
)
from vault.log.leaves import commitment
from vault.log.merkle import check_inclusion, leaf_hash, tree_hash
from vault.log.notes import check_note
from vault.log.signing import SIGNING_FILE, SigningKey
from vault.log.stored import append, entries, prove_consistency, prove_inclusion, root_at, size_of

COUNT = 23


def filled(world: World) -> list[bytes]:
    """A published ledger of some entries; gives its leaves."""
    for number in range(COUNT):
        with world.vault.catalogue.write() as tx:
            note(tx, world.clock.now(), "tested", f"s{number}", {"n": number, "é": [None, True, {"b": 1, "a": 2}]})
    publish(world.vault)
    with world.vault.catalogue.read() as tx:
        return [one.leaf() for one in entries(tx, 0, 1000)]


def test_every_proof_of_a_stored_tree(quick_world: World) -> None:
    leaves = filled(quick_world)
    key = quick_world.vault.signing.verifier
    size = len(leaves)
    assert size > COUNT
    for number in range(1, size + 1):
        checkpoint = check_note(checkpoint_at(quick_world.vault, number), [key])
        assert (checkpoint.size, checkpoint.root) == (number, tree_hash(leaves[:number]))
        assert leaf_of(quick_world.vault, number) == leaves[number - 1]
        path = inclusion(quick_world.vault, number, size)
        check_inclusion(leaf_hash(leaves[number - 1]), number - 1, size, path, tree_hash(leaves))
        proof = consistency(quick_world.vault, number, size)
        require_growth(number, checkpoint.root, size, tree_hash(leaves), proof)
    nodes = quick_world.value("SELECT COUNT(*) FROM ledger_nodes")
    assert size <= nodes < 2 * size
    assert latest_checkpoint(quick_world.vault) == checkpoint_at(quick_world.vault, size)


def test_a_leaf_commits_and_does_not_tell(quick_world: World) -> None:
    filled(quick_world)
    with quick_world.vault.catalogue.read() as tx:
        number = entry_number(tx, "tested", "s3")
        assert number is not None
        (entry,) = entries(tx, number - 1, 1)
    leaf = canonical.decode(entry.leaf())
    assert set(leaf) == {"at", "commitment", "event", "id", "subject"}
    assert leaf["commitment"] == commitment(entry.salt, entry.facts).hex()
    assert leaf["commitment"] != commitment(bytes(16), entry.facts).hex()
    salts = quick_world.value("SELECT COUNT(DISTINCT salt) FROM journal")
    assert salts == quick_world.value("SELECT COUNT(*) FROM journal")


def test_an_entry_is_opened_with_its_proof(quick_world: World) -> None:
    with quick_world.vault.catalogue.write() as tx:
        note(tx, quick_world.clock.now(), "tested", "s", {"n": 1})
        number = size_of(tx)
    extract = json.loads(json.dumps(prove_entry(quick_world.vault, number).extract()))
    checkpoint = check_note(extract["checkpoint"], [quick_world.vault.signing.verifier])
    leaf = extract["leaf"].encode()
    path = [bytes.fromhex(one) for one in extract["path"]]
    check_inclusion(leaf_hash(leaf), number - 1, checkpoint.size, path, checkpoint.root)
    assert json.loads(leaf)["commitment"] == commitment(bytes.fromhex(extract["salt"]), extract["facts"]).hex()
    assert extract["facts"] == {"n": 1}


def test_what_is_not_in_the_bucket_is_not_signed(quick_world: World) -> None:
    publish(quick_world.vault)
    before = latest_checkpoint(quick_world.vault)
    with quick_world.vault.catalogue.write() as tx:
        note(tx, quick_world.clock.now(), "tested", "s")
        size = size_of(tx)
    assert latest_checkpoint(quick_world.vault) == before
    for ask in (
        lambda: checkpoint_at(quick_world.vault, size),
        lambda: leaf_of(quick_world.vault, size),
        lambda: inclusion(quick_world.vault, 1, size),
        lambda: inclusion(quick_world.vault, size, size - 1),
        lambda: consistency(quick_world.vault, 1, size),
        lambda: consistency(quick_world.vault, 0, 1),
        lambda: leaf_of(quick_world.vault, 0),
        lambda: prove_entry(quick_world.vault, size + 1),
    ):
        with pytest.raises(NotFoundError):
            ask()


def test_the_bucket_has_what_a_rebuild_needs(quick_world: World) -> None:
    filled(quick_world)
    vault = quick_world.vault
    with vault.catalogue.read() as tx:
        every = read_objects(bucket_objects(vault.bucket), vault.vault_id)
        assert [entry for one in every for entry in one.entries] == entries(tx, 0, 1000)
    last = list(read_objects(bucket_objects(vault.bucket), vault.vault_id))[-1]
    assert last.checkpoint == latest_checkpoint(vault)


class Counting:
    """Counts statements; the tree of a large ledger is checked by what is read for it."""

    def __init__(self, tx: Transaction) -> None:
        self.tx, self.statements = tx, 0

    def execute(self, *arguments: object) -> object:
        self.statements += 1
        return self.tx.execute(*arguments)  # type: ignore[call-overload]


def test_work_grows_with_the_logarithm(quick_world: World) -> None:
    vault = quick_world.vault
    with vault.catalogue.write() as tx:
        (pattern,) = entries(tx, 0, 1)
        first = size_of(tx)
        counting = Counting(tx)
        for number in range(first + 1, 1025):
            append(counting, type(pattern)(number, pattern.at, "tested", "s", {}, pattern.salt))  # type: ignore[arg-type]
        assert counting.statements < 4 * 1024
        for proof in (
            lambda tx: prove_inclusion(tx, 700, 1023),
            lambda tx: prove_consistency(tx, 700, 1023),
            lambda tx: root_at(tx, 1023),
        ):
            counting.statements = 0
            proof(counting)
            assert counting.statements <= 21


def test_the_signing_key_stays_with_its_owner(quick_world: World) -> None:
    file = quick_world.folder / "home" / SIGNING_FILE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    key = SigningKey.at(file.parent, quick_world.vault.vault_id)
    assert SigningKey.make(file.parent, quick_world.vault.vault_id).verifier == key.verifier
    assert json.loads(file.read_text())["ed25519"] not in repr(key)
    for mode in (0o640, 0o604, 0o620):
        file.chmod(mode)
        with pytest.raises(HomeError, match="0600"):
            SigningKey.at(file.parent, quick_world.vault.vault_id)
