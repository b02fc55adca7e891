"""Mutants: a small deliberate fault each, and the judge that catches it. Without the fault nobody finds anything."""

import logging
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from keystore import GraphReport, Key, MasterState, Rewrite, TreeChange
from keystore import stage as stage_tree
from keystore.destruction import STABLE_AFTER, Evidence
from tests.crashes.faults import Died
from tests.seizure.game import Game, game
from tests.vault.databases import Databases, on_sqlite
from tests.vault.holding import place_hold
from vault.catalogue import Transaction
from vault.catalogue.schema import documents, journal, ledger_nodes, vaults
from vault.certificates import facts
from vault.destruction import carrying_out as destruction
from vault.destruction import condemning
from vault.holds import placing
from vault.keys.key_uses import KeyUses
from vault.law.retention import Cause
from vault.ledger import publishing as ledger
from vault.ledger.verifying import verify_vault
from vault.log.stored import append, entries, size_of
from vault.log.vouching import salted
from vault.objects import Bucket
from vault.records import sheets, uploads
from vault.trees import staging

Mutant = Callable[[pytest.MonkeyPatch, Game], None]
MUTANTS: dict[str, tuple[str, Mutant]] = {}


def caught_by(judge: str) -> Callable[[Mutant], Mutant]:
    def note(mutant: Mutant) -> Mutant:
        MUTANTS[mutant.__name__.replace("_", " ")] = judge, mutant
        return mutant

    return note


def without_rules(played: Game) -> None:
    """The fault goes past the database's own rules, as whoever makes it would have removed them."""
    world = played.workload.stage.world
    triggers = [row[0] for row in world.rows("SELECT name FROM sqlite_master WHERE type = 'trigger'")]
    world.run(*(f"DROP TRIGGER {name}" for name in triggers))


def without_check(patch: pytest.MonkeyPatch) -> None:
    """The fault goes past the key-graph check."""
    report = GraphReport(0, 0, 0)
    patch.setattr(staging, "check_graph", lambda *_, **__: report)


def spare_masters(patch: pytest.MonkeyPatch) -> None:
    def pretend(_: bytes, last: Any, __: Any) -> Evidence:
        return Evidence(last.root.master, last.custodian.uri, MasterState.ABSENT, STABLE_AFTER)

    patch.setattr(destruction, "destroy_master", pretend)


def keep_root_key(patch: pytest.MonkeyPatch, *, keep_master: bool) -> None:
    """A staging draws new page keys and takes the old root key again."""
    without_check(patch)

    def staged(vault_id: bytes, base: Any, change: TreeChange, load: Any, **more: Any) -> Any:
        fresh = iter([*(Key.generate() for _ in change.rewritten), Key.copy_of(base.root_key.reveal())])
        if keep_master:
            more["master"] = min(name for name in more["custodian"].names() if name != more["master"])
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(Key, "generate", lambda: next(fresh))
            return stage_tree(vault_id, base, change, load, **more)

    patch.setattr(staging, "stage", staged)


@caught_by("graph")
def only_the_rows_are_deleted(_: pytest.MonkeyPatch, played: Game) -> None:
    workload = played.workload
    workload.scene()
    without_rules(played)
    ids = ", ".join(f"'{record.id}'" for record in workload.destroyed)
    workload.stage.world.run(
        f"DELETE FROM documents WHERE record_id IN ({ids})", f"DELETE FROM records WHERE id IN ({ids})"
    )


@caught_by("graph")
def new_cohort_key_under_the_same_root_and_master(patch: pytest.MonkeyPatch, played: Game) -> None:
    without_rules(played)
    keep_root_key(patch, keep_master=True)
    spare_masters(patch)
    played.workload.brief()


@caught_by("trial")
def new_master_around_the_same_root_key(patch: pytest.MonkeyPatch, played: Game) -> None:
    keep_root_key(patch, keep_master=False)
    played.workload.brief()


@caught_by("reading")
def fresh_path_without_the_siblings(patch: pytest.MonkeyPatch, played: Game) -> None:
    without_check(patch)

    def staged(vault_id: bytes, base: Any, change: TreeChange, load: Any, **more: Any) -> Any:
        index_only = b"\x01" + bytes(127)
        change = TreeChange(rewritten={c: Rewrite(index_only) for c in change.rewritten}, dropped=change.dropped)
        return stage_tree(vault_id, base, change, load, **more)

    patch.setattr(staging, "stage", staged)
    played.workload.brief()


@caught_by("accounting")
def key_reused_on_retry(patch: pytest.MonkeyPatch, played: Game) -> None:
    without_check(patch)

    def staged(vault_id: bytes, base: Any, change: TreeChange, load: Any, **more: Any) -> Any:
        again = [base.root_page.key(cohort) for cohort in sorted(change.rewritten)]
        fresh = iter([*again, Key.copy_of(bytearray(range(32)))])
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(Key, "generate", lambda: next(fresh))
            return stage_tree(vault_id, base, change, load, **more)

    patch.setattr(staging, "stage", staged)
    played.workload.brief()


@caught_by("graph")
def crash_before_the_master_dies_and_no_resume(_: pytest.MonkeyPatch, played: Game) -> None:
    played.workload.scene()

    def die(step: str) -> None:
        played.workload.step(step)
        if step == "destroy master":
            raise Died

    with pytest.raises(Died):
        played.workload.stage.world.sweep(die)
    played.workload.stage.world.restart()


@caught_by("certificate")
def certificate_before_the_destruction(patch: pytest.MonkeyPatch, played: Game) -> None:
    spared: list[Any] = []

    def later(_: bytes, last: Any, __: Any) -> Evidence:
        spared.append(last)
        return Evidence(last.root.master, last.custodian.uri, MasterState.ABSENT, STABLE_AFTER)

    patch.setattr(destruction, "destroy_master", later)
    played.workload.brief()
    for last in spared:
        last.custodian.destroy(last.root.master)


@caught_by("bytes")
def plaintext_hash_in_a_log_line(patch: pytest.MonkeyPatch, played: Game) -> None:
    finish = uploads.Upload.finish

    def logged(self: uploads.Upload) -> uploads.Filed:
        logging.getLogger("vault").debug("filed %s", self._inspection._digest.hexdigest())
        return finish(self)

    patch.setattr(uploads.Upload, "finish", logged)
    played.workload.brief()


@caught_by("places")
def body_spooled_to_a_temporary_file(patch: pytest.MonkeyPatch, played: Game) -> None:
    add = uploads.Upload.add

    def spooled(self: uploads.Upload, chunk: bytes) -> None:
        with tempfile.NamedTemporaryFile() as file:
            file.write(chunk)
            file.flush()
            add(self, chunk)

    patch.setattr(uploads.Upload, "add", spooled)
    played.workload.brief()


@caught_by("places")
def body_spooled_under_the_name_of_what_ssh_keygen_verifies(patch: pytest.MonkeyPatch, played: Game) -> None:
    spool_into(patch, played.workload.stage.folder / "tmp" / "shredvault-abcd_123" / "signature")
    played.workload.brief()


@caught_by("places")
def body_spooled_under_the_name_of_pythons_trial(patch: pytest.MonkeyPatch, played: Game) -> None:
    spool_into(patch, played.workload.stage.folder / "tmp" / "abcd_123")
    played.workload.brief()


def spool_into(patch: pytest.MonkeyPatch, place: Path) -> None:
    """What comes in stands for a moment in a file whose name is above suspicion."""
    add = uploads.Upload.add

    def spooled(self: uploads.Upload, chunk: bytes) -> None:
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(chunk)
        place.unlink()
        add(self, chunk)

    patch.setattr(uploads.Upload, "add", spooled)


@caught_by("bytes")
def file_name_in_an_object_key(patch: pytest.MonkeyPatch, played: Game) -> None:
    begin = uploads.Upload.__init__

    def named(self: uploads.Upload, *args: Any) -> None:
        begin(self, *args)
        self._object += self._name

    patch.setattr(uploads.Upload, "__init__", named)
    played.workload.brief()


@caught_by("leftovers")
def unfinished_upload_left_behind(patch: pytest.MonkeyPatch, played: Game) -> None:
    patch.setattr(Bucket, "abort_unfinished", lambda *_, **__: 0)
    played.workload.brief()


@caught_by("contexts")
def document_left_out_of_a_slips_context(patch: pytest.MonkeyPatch, played: Game) -> None:
    whole = sheets._slip_context

    def partial(vault_id: bytes, record: Any, document: Any) -> bytes:
        return whole(vault_id, record, document)[: -4 - len(document)]

    patch.setattr(sheets, "_slip_context", partial)
    played.workload.brief()


@caught_by("authority")
def hold_that_races_the_condemning_transaction(patch: pytest.MonkeyPatch, played: Game) -> None:
    workload = played.workload
    without_rules(played)
    patch.setattr(condemning, "_same_verdicts", lambda *_: True)
    patch.setattr(condemning, "_require_no_held_copies", lambda *_: None)
    due, _ = workload.scene()

    def race(step: str) -> None:
        workload.step(step)
        if step == "condemn":
            place_hold(workload.stage.world.vault, [due.id], "22-cv-9")
            workload.destroyed.remove(due)
            workload.living.append(due)

    workload.stage.world.sweep(race)


@caught_by("authority")
def clock_set_forward(_: pytest.MonkeyPatch, played: Game) -> None:
    played.workload.scene()
    played.workload.stage.world.advance(days=5)
    played.workload.stage.world.sweep(played.workload.step)


@caught_by("authority")
def clock_set_back(_: pytest.MonkeyPatch, played: Game) -> None:
    played.workload.scene()
    played.workload.stage.world.advance(days=-5)
    played.workload.stage.world.sweep(played.workload.step)


@caught_by("papers")
def certificate_that_claims_more_than_the_custodian_gives(patch: pytest.MonkeyPatch, played: Game) -> None:
    honest = facts._sanitization

    def boasting(*inputs: Any) -> dict[str, Any]:
        return honest(*inputs) | {"sanitization_method": "Purge, on the custodian's word"}

    patch.setattr(facts, "_sanitization", boasting)
    played.workload.brief()


@caught_by("history")
def ledger_written_anew_and_signed(_: pytest.MonkeyPatch, played: Game) -> None:
    played.workload.brief()
    without_rules(played)
    vault = played.workload.stage.world.vault
    with vault.catalogue.write() as tx:
        told = entries(tx, 0, size_of(tx))
        for table in (journal, ledger_nodes):
            tx.execute(sa.delete(table))
        for one in told:
            lie = replace(one, facts=one.facts | {"count": 1})
            append(tx, salted(tx, lie) if one.event == "condemned" else one)
        tx.execute(sa.update(vaults).values(published=0, published_digest=bytes(32)))
    vault.bucket.delete_every_version(set(vault.bucket.names(ledger.PREFIX)))
    ledger.publish(vault)
    verify_vault(vault)


@caught_by("bytes")
def docket_of_a_sealed_hold_in_the_clear(patch: pytest.MonkeyPatch, played: Game) -> None:
    def open_to_all(_: str, __: bytes, ___: str, confidence: Any) -> bytes:
        return str(confidence.docket).encode()

    patch.setattr(placing, "seal", open_to_all)
    played.workload.brief()


@caught_by("memory")
def worker_that_was_not_fenced(patch: pytest.MonkeyPatch, played: Game) -> None:
    patch.setattr(KeyUses, "cut", lambda *_: 0)
    played.workload.brief()


@caught_by("bytes")
def copy_of_the_old_master_in_a_backup(_: pytest.MonkeyPatch, played: Game) -> None:
    stage = played.workload.stage
    shutil.copytree(stage.folder / "keys", stage.folder / "world" / "backup")
    played.workload.brief()


@caught_by("papers")
def storage_of_the_custodian_copied_before(_: pytest.MonkeyPatch, played: Game) -> None:
    """No fault of the vault: what the certificates of software custodians warn of."""
    played.workload.brief()
    played.has_copies = True


@caught_by("reading")
def restored_database_and_keys_serve_a_destroyed_record(_: pytest.MonkeyPatch, played: Game) -> None:
    workload, world = played.workload, played.workload.stage.world
    workload.scene()
    world.vault.catalogue.close()
    backup = workload.stage.folder / "backup.db"
    shutil.copy(world.folder / "home" / "catalogue.db", backup)
    world.sweep(workload.step)
    world.vault.catalogue.close()
    for path in world.folder.glob("home/catalogue.db*"):
        path.unlink()
    shutil.copy(backup, world.folder / "home" / "catalogue.db")
    workload.stage.storage.put_back(workload.stage.copies[-1])
    world.restart()


@caught_by("epoch")
def late_upload_commit_into_a_destroyed_epoch(patch: pytest.MonkeyPatch, played: Game) -> None:
    workload = played.workload
    patch.setattr(KeyUses, "cut", lambda *_: 0)
    workload.scene()
    workload.destroy(Cause.SWEEP, workload.step)
    without_rules(played)
    (late,) = workload.abandoned

    def insert(tx: Transaction, *, limit: int, document_id: str, **more: Any) -> bool:
        tx.execute(sa.insert(documents).values(id=document_id, **more))
        return True

    patch.setattr(uploads, "insert_document", insert)
    late.finish()


@on_sqlite
@pytest.mark.parametrize("name", sorted(MUTANTS))
def test_every_mutant_is_caught(scratch: Path, databases: Databases, name: str) -> None:
    judge, mutant = MUTANTS[name]
    with game(scratch / "game", databases) as played, pytest.MonkeyPatch.context() as patch:
        mutant(patch, played)
        assert judge in {finding.judge for finding in played.verdicts()}


@on_sqlite
def test_without_a_fault_no_judge_finds_anything(scratch: Path, databases: Databases) -> None:
    with game(scratch / "game", databases) as played:
        played.workload.brief()
        assert played.verdicts() == []
