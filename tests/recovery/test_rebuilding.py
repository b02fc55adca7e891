"""A catalogue from the bucket and the custodian alone: the dead stay dead, the held held, and the living readable."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from api.http.problems import problem_response
from keystore import MasterState, StagedTree, Tree
from tests.vault.databases import Databases
from tests.vault.holding import place_hold, release_hold
from tests.vault.world import PURPOSE, Record, Sealed, World, open_world_vault
from vault.catalogue import Catalogue
from vault.catalogue.schema import access_tokens
from vault.destruction.carrying_out import destroy_returned, recover_destructions, require_newest
from vault.destruction.listed_ids import list_name
from vault.destruction.reclaim import reclaim
from vault.errors import DamagedError, DestroyedError, DestructionRefusedError, NotFoundError, OldCatalogueError
from vault.holds import list_holds
from vault.ids import RecordId, new_id
from vault.ledger import publishing as ledger
from vault.ledger.publishing import PREFIX, bucket_objects, ledger_name, publish, published_mark, read_objects
from vault.log import Entry, SigningKey
from vault.log.leaves import SALT_BYTES
from vault.log.merkle import Frontier, leaf_hash
from vault.log.signing import origin_of
from vault.records.filing import open_record
from vault.records.manifests import manifest_name
from vault.records.retrieval import read_record
from vault.recovery.rebuild import Rebuilt, rebuild
from vault.recovery.recognising import Known
from vault.trees import mirror
from vault.trees.mirror import PREFIX as PACKS

OPENED: list[Catalogue] = []


@pytest.fixture(autouse=True)
def close_catalogues() -> Iterator[None]:
    yield
    while OPENED:
        OPENED.pop().close()


def rebuilt(
    world: World,
    databases: Databases,
    *,
    leave_lost: bool = False,
    known: Known | None = None,
    retained: dict[RecordId, tuple[int, int]] | None = None,
) -> tuple[World, Rebuilt]:
    """The same vault with a catalogue made from bucket and custodian; tokens come from the old one."""
    with world.vault.catalogue.read() as tx:
        tokens = [dict(row._mapping) for row in tx.execute(sa.select(access_tokens))]
    home = world.folder / f"home-{len(list(world.folder.iterdir()))}"
    home.mkdir()
    database = databases.new(home)
    vault = open_world_vault(world.folder, world.vault.vault_id, world.vault.bucket, world.clock, database)
    OPENED.append(vault.catalogue)
    vault.catalogue.migrate()
    uris = [world.custodian.uri]
    done = rebuild(vault, uris, tokens, leave_lost=leave_lost, known=known or Known(), retained=retained)
    recover_destructions(vault)
    return replace(world, vault=vault, database=database), done


def test_the_living_live_the_dead_stay_dead_and_holds_hold(quick_world: World, databases: Databases) -> None:
    dead, held, plain, released = [quick_world.file() for _ in range(4)]
    place_hold(quick_world.vault, [held.id], "16-cv-1")
    gone = place_hold(quick_world.vault, [released.id, plain.id], "16-cv-2").hold_id
    quick_world.scrub()
    release_hold(quick_world.vault, gone, "counsel")
    late = quick_world.file()
    old_masters = quick_world.custodian.names()
    copied = Sealed()
    copied.gather(quick_world)

    world, done = rebuilt(quick_world, databases)

    assert (done.records, done.held, done.condemned, done.holds_in_force, done.lost) == (4, 1, 1, 1, [])
    world.assert_readable(held, plain, released, late)
    world.assert_destroyed(dead)
    assert not world.custodian.names() & old_masters
    world.assert_two_masters()
    copied.gather(world)
    assert world.place(dead) not in copied.reachable(world)
    assert [hold.docket for hold in list_holds(world.vault)] == ["16-cv-1"]
    new = world.file()
    assert world.place(new)[0] > max(world.place(record)[0] for record in (held, plain, released, late))
    world.scrub()
    world.assert_readable(held)
    world.assert_destroyed(dead, plain, released, late, new)
    require_newest(world.vault)


def test_what_is_said_of_a_destroyed_record_after_a_rebuild(quick_world: World, databases: Databases) -> None:
    """Over HTTP: 410 with its destruction, and what 404 may mean when the list of its destruction is missing."""
    forgotten = quick_world.file()
    lost_list = quick_world.scrub().id
    listed = quick_world.file()
    destruction = quick_world.scrub().id
    reclaim(quick_world.vault)
    left = quick_world.file()
    last = quick_world.scrub().id
    bucket = quick_world.vault.bucket
    bucket.delete_every_version({version.name for version in bucket.versions(list_name(lost_list))})
    world, _ = rebuilt(quick_world, databases)

    def answer(record_id: str) -> tuple[int, Any]:
        with pytest.raises((DestroyedError, NotFoundError)) as refused:
            read_record(world.vault, world.reviewer, record_id, PURPOSE)
        told = problem_response(refused.value, request_id="0", method="GET")
        return told.status_code, json.loads(bytes(told.body))

    for record, died_by in ((left, last), (listed, destruction)):
        code, said = answer(record.id)
        assert (code, said["destruction_id"]) == (410, died_by)
    for record_id in (forgotten.id, new_id()):
        code, said = answer(record_id)
        assert (code, "without the list of a destruction" in said["detail"]) == (404, True)
    with pytest.raises(NotFoundError) as never:
        read_record(quick_world.vault, quick_world.reviewer, new_id(), PURPOSE)
    assert str(never.value) == "There is no such record."


def test_a_restored_backup_is_recognised_and_brought_forward(quick_world: World, databases: Databases) -> None:
    doomed, kept = quick_world.file(), quick_world.file()
    quick_world.vault.catalogue.close()
    (quick_world.folder / "backup").mkdir()
    backup = databases.copied(quick_world.database, quick_world.folder / "backup")
    place_hold(quick_world.vault, [kept.id], "16-cv-1")
    quick_world.scrub()
    masters = quick_world.custodian.names()
    restored = replace(quick_world, database=backup)
    restored.restart()
    OPENED.append(restored.vault.catalogue)
    with pytest.raises(OldCatalogueError, match="restored from a backup"):
        require_newest(restored.vault)
    assert restored.custodian.names() == masters
    world, done = rebuilt(restored, databases)
    assert (done.records, done.held, done.condemned) == (1, 1, 1)
    world.assert_readable(kept)
    world.assert_destroyed(doomed)


@pytest.mark.parametrize("step", ["fence", "destroy master", "record"])
def test_a_catalogue_lost_after_condemning_does_not_bring_the_condemned_back(
    quick_world: World, databases: Databases, step: str
) -> None:
    class LostError(Exception):
        pass

    def lose(at: str) -> None:
        if at == step:
            publish(quick_world.vault)
            raise LostError

    dead = quick_world.file()
    survivor = quick_world.file()
    place_hold(quick_world.vault, [survivor.id], "16-cv-1")
    with pytest.raises(LostError):
        quick_world.scrub(lose)
    old_masters = quick_world.custodian.names()
    world, done = rebuilt(quick_world, databases)
    assert (done.records, done.condemned) == (1, 1)
    world.assert_readable(survivor)
    world.assert_destroyed(dead)
    assert not world.custodian.names() & old_masters
    reclaim(world.vault)
    assert not list(world.vault.bucket.versions(manifest_name(dead.id)))


@pytest.mark.parametrize("step", ["create master", "stage", "condemn"])
def test_a_catalogue_lost_before_condemning_loses_nobody(quick_world: World, databases: Databases, step: str) -> None:
    class LostError(Exception):
        pass

    def lose(at: str) -> None:
        if at == step:
            raise LostError

    records = [quick_world.file() for _ in range(2)]
    with pytest.raises(LostError):
        quick_world.scrub(lose)
    world, done = rebuilt(quick_world, databases)
    assert (done.records, done.condemned, done.lost) == (2, 0, [])
    world.assert_readable(*records)
    world.assert_two_masters()


def test_what_is_filed_in_grown_trees_is_found(quick_world: World, databases: Databases) -> None:
    """Cohorts opened since the last epoch stand in packs of their own."""
    records: list[Record] = []
    for _ in range(4):
        records.append(quick_world.file())
        quick_world.advance(days=30)
    world, done = rebuilt(quick_world, databases)
    assert done.records == 4
    world.assert_readable(*records)
    again, done = rebuilt(world, databases)
    assert done.records == 4
    again.assert_readable(*records)


def change_date(text: bytes) -> bytes:
    fields = json.loads(text)
    fields["due_on"] = "2026-01-06"
    return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()


def leave_out_documents(text: bytes) -> bytes:
    fields = json.loads(text)
    fields["documents"] = []
    return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()


@pytest.mark.parametrize("alter", [change_date, leave_out_documents, lambda _: b"{}"])
def test_an_altered_manifest_is_an_incident_and_destroys_nothing(
    quick_world: World, databases: Databases, alter: Callable[[bytes], bytes]
) -> None:
    record, other = quick_world.file(), quick_world.file()
    name = manifest_name(record.id)
    bucket = quick_world.vault.bucket
    honest = bucket.get(name, limit=10**6)
    bucket.put(name, alter(honest))
    masters = quick_world.custodian.names()
    with pytest.raises(DamagedError, match="1 record has a manifest and no key"):
        rebuilt(quick_world, databases)
    assert quick_world.custodian.names() >= masters
    bucket.put(name, honest)
    world, done = rebuilt(quick_world, databases)
    assert done.records == 2
    world.assert_readable(record, other)


def test_a_ledger_with_a_gap_or_a_change_is_refused(quick_world: World, databases: Databases) -> None:
    record = quick_world.file()
    place_hold(quick_world.vault, [record.id], "16-cv-1")
    bucket = quick_world.vault.bucket
    names = list(bucket.names(PREFIX))
    honest = bucket.get(names[-1], limit=10**6)
    masters = quick_world.custodian.names()
    bucket.put(names[0], bucket.get(names[0], limit=10**6).replace(b"24", b"12"))
    with pytest.raises(DamagedError):
        rebuilt(quick_world, databases)
    bucket.delete_every_version([names[0]])
    with pytest.raises(DamagedError):
        rebuilt(quick_world, databases)
    assert bucket.get(names[-1], limit=10**6) == honest
    assert quick_world.custodian.names() == masters


def test_a_revoked_token_does_not_come_back(quick_world: World, databases: Databases) -> None:
    from vault.access import list_tokens, revoke_token  # noqa: PLC0415

    token = list_tokens(quick_world.vault)[0].id
    with quick_world.vault.catalogue.read() as tx:
        before = [dict(row._mapping) for row in tx.execute(sa.select(access_tokens))]
    revoke_token(quick_world.vault, token)
    world, _ = rebuilt(quick_world, databases)
    assert {line.id for line in list_tokens(world.vault) if line.revoked_at} == {token}
    assert len(before) == 2


def test_what_the_mirror_has_lost_is_mirrored_again_before_a_master_dies(
    quick_world: World, databases: Databases
) -> None:
    """Somebody deletes packs on which the living depend; the catalogue still has their pages, until it is lost too."""
    due = quick_world.file()
    quick_world.advance(days=400)
    kept, held = quick_world.file(), quick_world.file()
    place_hold(quick_world.vault, [held.id], "16-cv-1")
    quick_world.advance(days=400)
    bucket = quick_world.vault.bucket
    bucket.delete_every_version({version.name for version in bucket.versions(PACKS)})
    quick_world.sweep()
    world, done = rebuilt(quick_world, databases)
    assert (done.records, done.lost) == (2, [])
    world.assert_readable(kept, held)
    world.assert_destroyed(due)


def test_a_tree_of_which_the_catalogue_has_lost_pages_is_not_rewritten(
    quick_world: World, databases: Databases
) -> None:
    """Their keys are in the packs, under the master that a destruction would end."""
    due = quick_world.file()
    quick_world.advance(days=400)
    kept = quick_world.file()
    quick_world.advance(days=400)
    quick_world.run(f"DELETE FROM tree_pages WHERE cohort_id = {quick_world.place(kept)[0]}")
    with pytest.raises(DestructionRefusedError, match="pages of 1 cohort"):
        quick_world.sweep()
    world, done = rebuilt(quick_world, databases)
    assert (done.records, done.lost) == (2, [])
    world.assert_readable(kept)
    world.sweep()
    world.assert_destroyed(due)


def test_a_tree_whose_pages_somebody_has_exchanged_is_not_rewritten(quick_world: World, databases: Databases) -> None:
    """The service's role may write pages. The true one is in a pack, which would be deleted with the old master."""
    quick_world.file()
    quick_world.advance(days=400)
    kept = quick_world.file()
    quick_world.advance(days=400)
    cohort, version = quick_world.place(kept)[0], quick_world.value("SELECT MAX(version) FROM roots") - 1
    quick_world.run(
        f"INSERT INTO sealed_pages SELECT tree, cohort_id, {version}, live, sealed FROM sealed_pages "
        f"WHERE cohort_id = {cohort}",
        f"UPDATE tree_pages SET version = {version} WHERE cohort_id = {cohort}",
    )
    with pytest.raises(DestructionRefusedError, match=f"page of cohort {cohort}"):
        quick_world.sweep()
    world, done = rebuilt(quick_world, databases)
    assert (done.records, done.lost) == (2, [])
    world.assert_readable(kept)


def test_packs_that_somebody_has_planted_use_up_no_numbers(quick_world: World, databases: Databases) -> None:
    """A pack's head is in the clear: whoever writes in the bucket can name any version, epoch, cohort and master."""
    record, bucket, vault = quick_world.file(), quick_world.vault.bucket, quick_world.vault
    current = max(name for name in bucket.names(f"{PACKS}active/"))
    kept = bucket.get(current, limit=100_000)
    genuine, _ = mirror.unpack(vault.vault_id, kept)
    version, far = genuine.root.version, 2**63 - 2

    def planted(number: int, epoch: int = 1) -> bytes:
        root = replace(genuine.root, version=number, epoch=epoch, master="active-mallory")
        return bytes(mirror.pack(vault.vault_id, StagedTree(root, ()), {65_535: 1}))

    higher = mirror.pack_name(Tree.ACTIVE, version + 7)
    for name, content in {
        mirror.pack_name(Tree.ACTIVE, far): planted(far),
        # It would stand in the place of the true one.
        mirror.pack_name(Tree.ACTIVE, version + 9): planted(version),
        f"{PACKS}active/zzz": b"no pack",
    }.items():
        bucket.put(name, content)
        with pytest.raises(DamagedError, match=name):
            rebuilt(quick_world, databases)
        bucket.delete_every_version([name])
    bucket.put(current, bytes(mirror.pack(vault.vault_id, genuine, {65_535: 1})))
    with pytest.raises(DamagedError, match=current):
        rebuilt(quick_world, databases)
    bucket.put(current, kept)
    bucket.put(higher, planted(version + 7, epoch=2**64 - 1))
    world, done = rebuilt(quick_world, databases)
    assert (done.records, done.lost) == (1, [])
    world.assert_readable(record, world.file())
    assert world.value("SELECT MAX(id) FROM cohorts") < 10


def test_a_deleted_manifest_costs_no_record_that_the_old_catalogue_has(
    quick_world: World, databases: Databases
) -> None:
    dead, missing, kept = [quick_world.file() for _ in range(3)]
    retained = {record.id: quick_world.place(record) for record in (dead, missing, kept)}
    place_hold(quick_world.vault, [missing.id, kept.id], "16-cv-1")
    quick_world.scrub()
    reclaim(quick_world.vault)
    bucket, masters = quick_world.vault.bucket, quick_world.custodian.names()
    manifest = bucket.get(manifest_name(missing.id), limit=100_000)
    bucket.delete_every_version([manifest_name(missing.id)])
    with pytest.raises(DamagedError, match="1 record has no manifest"):
        rebuilt(quick_world, databases, retained=retained)
    assert quick_world.custodian.names() >= masters
    bucket.put(manifest_name(missing.id), manifest)
    world, done = rebuilt(quick_world, databases, retained=retained)
    assert (done.records, done.lost) == (2, [])
    world.assert_readable(missing, kept)
    bucket.delete_every_version([manifest_name(missing.id)])
    world, done = rebuilt(world, databases, retained=retained, leave_lost=True)
    assert done.lost == [missing.id]
    world.assert_readable(kept)


def test_masters_destroyed_before_a_rebuild_are_known_when_they_come_back(
    quick_world: World, databases: Databases
) -> None:
    """With a backup of the custodian; nothing but the ledger names them any more."""
    dead = quick_world.file()
    keys = quick_world.folder / "keys"
    backup = {path: path.read_bytes() for path in keys.iterdir()}
    old, place = Sealed(), quick_world.place(dead)
    old.gather(quick_world)
    quick_world.scrub()
    reclaim(quick_world.vault)
    world, _ = rebuilt(quick_world, databases)
    for path, content in backup.items():
        path.write_bytes(content)
    assert place in old.reachable(world)
    assert destroy_returned(world.vault).destroyed != []
    assert place not in old.reachable(world)
    world.assert_two_masters()


def test_repeated_requests_are_still_recognised(quick_world: World, databases: Databases) -> None:
    record = quick_world.open()
    quick_world.upload(record)
    quick_world.complete(record)
    opened = open_record(quick_world.vault, quick_world.center, idempotency_key="k", applicant={"name": "A"}, body=b"1")
    lost = Record(opened.record_id, {"name": "A"})
    world, _ = rebuilt(quick_world, databases)
    world.complete(record)
    with pytest.raises(NotFoundError):
        read_record(world.vault, world.reviewer, lost.id, PURPOSE)
    with pytest.raises(NotFoundError, match="file its documents again"):
        world.upload(lost)
    again = open_record(world.vault, world.center, idempotency_key="k", applicant={"name": "A"}, body=b"1")
    assert not again.repeated


def test_no_slot_of_a_lost_record_is_given_out_again(quick_world: World, databases: Databases) -> None:
    """Nothing but the packs names the cohort of a record that was still receiving."""
    lost = quick_world.place(quick_world.open())
    world, done = rebuilt(quick_world, databases)
    assert done.records == 0
    assert world.place(world.file())[0] > lost[0]


def test_packs_and_ledger_alone_are_enough(quick_world: World, databases: Databases, tmp_path: Path) -> None:
    record = quick_world.file()
    assert list(quick_world.vault.bucket.names(PACKS))
    world, done = rebuilt(quick_world, databases)
    assert done.records == 1
    assert all(world.custodian.describe(name) is MasterState.LIVE for name in world.custodian.names())
    quick_world.vault.catalogue.close()
    world.assert_readable(record)
    world.scrub()
    world.assert_destroyed(record)


def test_a_ledger_that_was_forged_or_cut_off_in_the_bucket_rebuilds_nothing(
    quick_world: World, databases: Databases
) -> None:
    """H12: whoever writes in the bucket can neither condemn nor leave a hold out; that takes the home's key too."""
    world = quick_world
    record = world.file()
    with world.vault.catalogue.read() as tx:
        before = published_mark(tx)
    place_hold(world.vault, [record.id], "16-cv-1")
    with world.vault.catalogue.read() as tx:
        known = Known(published=published_mark(tx))
    bucket, vault_id = world.vault.bucket, world.vault.vault_id
    hidden = [name for name in bucket.names(PREFIX) if name > ledger_name(before.last)]
    blobs = {name: bucket.get(name, limit=10**6) for name in hidden}
    bucket.delete_every_version(set(hidden))
    with pytest.raises(DamagedError, match="has them no more"):
        rebuilt(world, databases, known=known)
    frontier = Frontier()
    for one in read_objects(bucket_objects(bucket), vault_id):
        for entry in one.entries:
            frontier.add(leaf_hash(entry.leaf()))
    lie = Entry(before.last + 1, world.clock.now(), "serving ended", "nothing", {}, bytes(SALT_BYTES))
    frontier.add(leaf_hash(lie.leaf()))
    forger = SigningKey(origin_of(vault_id), Ed25519PrivateKey.generate())
    signed = forger.sign_checkpoint(lie.id, frontier.root())
    bucket.put(ledger_name(lie.id), ledger._encode(vault_id, before, [lie], signed))
    with pytest.raises(DamagedError, match="not signed by the key in this home"):
        rebuilt(world, databases)
    bucket.delete_every_version({ledger_name(before.last + 1)})
    for name, blob in blobs.items():
        bucket.put(name, blob)
    honest, done = rebuilt(world, databases, known=known)
    assert (done.records, done.held) == (1, 1)
    honest.advance(days=800)
    honest.sweep()
    honest.assert_readable(record)
