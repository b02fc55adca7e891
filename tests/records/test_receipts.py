"""Receipts: the code, what its holder is told and nobody else, and the proof that they can check by themselves."""

import json

import pytest

from tests.recovery.test_rebuilding import close_catalogues, rebuilt
from tests.vault.databases import Databases, on_sqlite
from tests.vault.holding import place_hold
from tests.vault.world import Record, World
from vault.certificates import issue_certificate
from vault.destruction.reclaim import reclaim
from vault.errors import LedgerBrokenError, NotFoundError
from vault.ids import RecordId, new_id
from vault.law.retention import Cause
from vault.log.merkle import check_inclusion, leaf_hash, tree_hash
from vault.log.notes import check_note
from vault.receipts.answers import Receipts, receipt_facts
from vault.receipts.list_proofs import ListTree, ListTrees
from vault.records.receipt_codes import code_of, record_of

__all__ = ["close_catalogues"]

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
RECORD = RecordId("3v7f0k2m9q8x1c5r6t4w0y2z7b")
CODE = "3v7f0-k2m9q-8x1c5-r6t4w-0y2z7-brkbp"
NO_SUCH = "There is no receipt with this code."


def told(world: World, record: Record) -> dict[str, object]:
    return receipt_facts(Receipts(world.vault).answer(code_of(record.id)))


# --- the code


def test_the_code_is_the_id_with_its_check() -> None:
    assert code_of(RECORD) == CODE
    for written in (CODE, CODE.upper(), CODE.replace("-", ""), CODE.replace("-", " "), CODE.replace("0", "O")):
        assert record_of(written) == RECORD
    assert record_of(CODE.replace("1", "l")) == record_of(CODE.replace("1", "I")) == RECORD


def test_what_is_mistyped_is_noticed() -> None:
    plain = CODE.replace("-", "")
    wrong = {plain[:at] + letter + plain[at + 1 :] for at in range(len(plain)) for letter in ALPHABET}
    wrong |= {plain[:at] + plain[at + 1] + plain[at] + plain[at + 2 :] for at in range(len(plain) - 1)}
    for code in wrong - {plain}:
        with pytest.raises(NotFoundError, match=NO_SUCH):
            record_of(code)


@pytest.mark.parametrize("code", ["", "-", CODE[:-1], CODE + "0", RECORD, "u" * 30, "é" * 30, CODE * 100, "\0"])
def test_what_is_no_code_is_refused(code: str) -> None:
    with pytest.raises(NotFoundError, match=NO_SUCH):
        record_of(code)


# --- what is told


def test_a_receipt_is_answered_through_the_whole_life_of_a_record(quick_world: World) -> None:
    world = quick_world
    record, held = world.open(), world.file()
    assert told(world, record) == {"state": "receiving"}
    world.upload(record)
    world.complete(record)
    place_hold(world.vault, [held.id], "16-cv-1")
    # Due on 2028-01-06, and gone by the end of that quarter. Of the hold nothing is told.
    assert told(world, record) == told(world, held) == {"state": "kept", "until": "2028-03-31"}
    world.advance(days=800)
    assert told(world, record) == told(world, held) == {"state": "kept", "until": "2028-03-31"}

    seen = []
    destroyed = world.sweep(lambda _: seen.append(told(world, record)["state"]))
    assert list(dict.fromkeys(seen)) == ["kept", "destroying"]
    answer = told(world, record)
    assert (answer["state"], answer["on"], answer["certificate"]) == ("destroyed", "2028-03-15", None)
    issue_certificate(world.vault, destroyed.id)
    reclaim(world.vault)
    later = told(world, record)
    assert (later["state"], later["on"], later["certificate"]) == ("destroyed", "2028-03-15", destroyed.id)
    assert later["proof"]["list"] == answer["proof"]["list"]  # type: ignore[index]
    assert told(world, held)["state"] == "kept"


def test_a_code_that_fits_no_record_is_answered_like_a_mistyped_one(quick_world: World) -> None:
    with pytest.raises(NotFoundError, match=NO_SUCH):
        Receipts(quick_world.vault).answer(code_of(RecordId(new_id())))


# --- the proof


def test_whoever_has_the_paper_can_check_the_destruction(quick_world: World) -> None:
    world = quick_world
    records = [world.file() for _ in range(5)]
    world.advance(days=800)
    destroyed = world.sweep()
    certificate = issue_certificate(world.vault, destroyed.id).content
    receipts = Receipts(world.vault)
    for record in records:
        proof = receipt_facts(receipts.answer(code_of(record.id)))["proof"]
        # As docs/spec/receipt.md, section 3, tells it.
        listed, entry = proof["list"], proof["entry"]
        path = [bytes.fromhex(one) for one in listed["path"]]
        leaf = leaf_hash(record.id.encode())
        check_inclusion(leaf, listed["index"], listed["size"], path, bytes.fromhex(listed["root"]))
        assert listed["size"] == len(records)
        checkpoint = check_note(entry["checkpoint"], [world.vault.signing.verifier])
        number = json.loads(entry["leaf"])["id"]
        path = [bytes.fromhex(one) for one in entry["path"]]
        check_inclusion(leaf_hash(entry["leaf"].encode()), number - 1, checkpoint.size, path, checkpoint.root)
        assert (json.loads(entry["leaf"])["event"], json.loads(entry["leaf"])["subject"]) == ("completed", destroyed.id)
        assert listed["root"] in json.dumps(certificate)
        # Nobody else's id, and no facts.
        others = {one.id for one in records} - {record.id}
        assert not any(other in json.dumps(proof) for other in others)
        assert set(entry) == {"leaf", "path", "checkpoint"}


def test_a_list_that_was_edited_proves_nothing(quick_world: World) -> None:
    world = quick_world
    records = [world.file() for _ in range(2)]
    world.advance(days=800)
    world.sweep()
    world.run("UPDATE destructions SET list_root = (SELECT hash FROM ledger_nodes LIMIT 1)")
    with pytest.raises(LedgerBrokenError):
        told(world, records[0])


def test_a_record_that_was_given_up_has_a_proof_too(quick_world: World) -> None:
    record = quick_world.open()
    quick_world.advance(days=4)
    quick_world.sweep()
    answer = told(quick_world, record)
    assert answer["state"] == "destroyed"
    assert answer["proof"]["list"]["size"] == 1  # type: ignore[index]


@on_sqlite
def test_rebuilds_before_and_after_reclaiming_answer_as_before(quick_world: World, databases: Databases) -> None:
    first, second, kept = quick_world.file(), quick_world.file(), quick_world.file()
    place_hold(quick_world.vault, [kept.id], "19-cv-1")
    quick_world.advance(days=800)
    destroyed = quick_world.destroy(Cause.SWEEP)
    issue_certificate(quick_world.vault, destroyed.id)
    before = {record.id: told(quick_world, record) for record in (first, second, kept)}
    world = quick_world
    for _ in range(2):
        world, _ = rebuilt(world, databases)
        after = {record.id: told(world, record) for record in (first, second, kept)}
        for answer in (*before.values(), *after.values()):
            if "proof" in answer:
                # Its checkpoint is over more entries by now.
                answer["proof"] = answer["proof"]["list"]  # type: ignore[index]
        assert after == before
        before = {record.id: told(world, record) for record in (first, second, kept)}
        reclaim(world.vault)


@pytest.mark.parametrize("size", [1, 2, 3, 1023, 1024, 1025, 2048, 3000])
def test_every_record_of_a_list_is_proved_to_be_on_it(size: int) -> None:
    ids = sorted(new_id() for _ in range(size))
    root = tree_hash(one.encode() for one in ids)
    tree = ListTree("".join(ids).encode())
    for index in {0, 1, size // 2, 1023, 1024, size - 2, size - 1} & set(range(size)):
        proof = tree.prove(RecordId(ids[index]), root)
        assert proof is not None
        assert (proof.index, proof.size, proof.root) == (index, size, root)
    assert tree.prove(RecordId(new_id()), root) is None
    with pytest.raises(LedgerBrokenError):
        tree.prove(RecordId(ids[0]), bytes(32))


@on_sqlite
def test_lists_are_kept_within_bounds(quick_world: World) -> None:
    destructions = []
    for _ in range(3):
        quick_world.file()
        quick_world.file()
        quick_world.advance(days=800)
        destructions.append(quick_world.sweep())
    trees = ListTrees(kept_max=4)
    with quick_world.vault.catalogue.read() as tx:
        first = trees.get(quick_world.vault, tx, destructions[0])
        assert trees.get(quick_world.vault, tx, destructions[1]) is not None
        assert trees.get(quick_world.vault, tx, destructions[0]) is first
        trees.get(quick_world.vault, tx, destructions[2])
        assert trees.get(quick_world.vault, tx, destructions[0]) is first
        trees.get(quick_world.vault, tx, destructions[1])
        trees.get(quick_world.vault, tx, destructions[2])
        assert trees.get(quick_world.vault, tx, destructions[0]) is not first
