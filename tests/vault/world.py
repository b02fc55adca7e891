"""A vault under test, with what a test must know to judge it: who was filed, with which content."""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
import sqlalchemy as sa

from keystore import KeystoreError, OpenTree, SealBrokenError, SealedPage, SealedRoot, Tree, slots_of
from keystore.custodians import Custodian, FileCustodian
from tests.people import founded_by, frozen
from tests.vault.databases import Databases
from vault.access import Caller, Role, authenticate, create_token
from vault.catalogue import Catalogue, keys
from vault.catalogue.destructions import Destruction
from vault.catalogue.schema import roots, sealed_pages
from vault.clocks.clock import SimulatedClock
from vault.clocks.trusted_time import simulated_sources
from vault.context import Vault
from vault.destruction.carrying_out import carry_out
from vault.destruction.condemning import Progress
from vault.errors import DestroyedError
from vault.founding import Founding, found_catalogue
from vault.ids import RecordId
from vault.keys.custody import Custody
from vault.law.retention import Cause
from vault.log import SigningKey
from vault.objects import Bucket
from vault.records.filing import complete_record, open_record
from vault.records.retrieval import read_document, read_record
from vault.records.uploads import Filed, begin_upload
from vault.trees import mirror
from vault.trees.keyring import custodian_of

START = datetime(2026, 1, 5, 15, tzinfo=UTC)
PNG_HEAD, PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
PURPOSE = "application-review"
_RANDOM = Random(7)


def png(size: int = 300) -> bytes:
    """Something that passes for a PNG of `size` bytes, unlike any other."""
    return PNG_HEAD + _RANDOM.randbytes(size - len(PNG_HEAD) - len(PNG_END)) + PNG_END


@dataclass
class Record:
    """A record as the test filed it."""

    id: RecordId
    applicant: dict[str, Any]
    documents: dict[str, bytes] = field(default_factory=dict)


@dataclass
class World:
    folder: Path
    vault: Vault
    clock: SimulatedClock
    center: Caller
    reviewer: Caller
    databases: Databases
    database: str
    records: list[Record] = field(default_factory=list)

    @property
    def custodian(self) -> Custodian:
        with self.vault.catalogue.read() as tx:
            return custodian_of(self.vault, tx, keys.current_root(tx, Tree.ACTIVE))

    def open(self, **applicant: Any) -> Record:
        number = f"{_RANDOM.getrandbits(64):x}"
        fields = applicant or {"name": f"Person {number}"}
        opened = open_record(self.vault, self.center, idempotency_key=number, applicant=fields, body=number.encode())
        record = Record(opened.record_id, fields)
        self.records.append(record)
        return record

    def upload(self, record: Record, name: str = "card.png", content: bytes | None = None) -> Filed:
        data = png() if content is None else content
        filed = upload(self.vault, self.center, record.id, name, data)
        record.documents[name] = data
        return filed

    def complete(self, record: Record) -> None:
        complete_record(self.vault, self.center, record.id)

    def file(self, **applicant: Any) -> Record:
        record = self.open(**applicant)
        self.upload(record)
        self.complete(record)
        return record

    def advance(self, **step: float) -> None:
        self.clock.advance(timedelta(**step))

    def destroy(self, cause: Cause, progress: Progress = lambda _: None) -> Destruction:
        return carry_out(self.vault, frozen(self.vault, cause), progress)

    def sweep(self, progress: Progress = lambda _: None) -> Destruction:
        return self.destroy(Cause.SWEEP, progress)

    def scrub(self, progress: Progress = lambda _: None) -> Destruction:
        return self.destroy(Cause.SCRUB, progress)

    def assert_readable(self, *records: Record) -> None:
        for record in records:
            view = read_record(self.vault, self.reviewer, record.id, PURPOSE)
            assert view.applicant == record.applicant
            assert {line.name for line in view.documents} == set(record.documents)
            for name, content in record.documents.items():
                assert self.fetch(record, name) == content

    def fetch(self, record: Record, name: str = "card.png") -> bytes:
        return b"".join(read_document(self.vault, self.reviewer, record.id, name, PURPOSE).chunks())

    def assert_destroyed(self, *records: Record) -> None:
        for record in records:
            with pytest.raises(DestroyedError):
                read_record(self.vault, self.reviewer, record.id, PURPOSE)
            for name in record.documents:
                with pytest.raises(DestroyedError):
                    read_document(self.vault, self.reviewer, record.id, name, PURPOSE)

    def is_readable(self, record: Record) -> bool:
        try:
            self.assert_readable(record)
        except DestroyedError:
            return False
        return True

    def assert_two_masters(self) -> None:
        with self.vault.catalogue.read() as tx:
            current = set(
                tx.execute(
                    sa.text("SELECT master FROM roots r JOIN trees t ON t.tree = r.tree AND t.version = r.version")
                ).scalars()
            )
        assert len(current) == 2
        assert self.custodian.names() == current

    def place(self, record: Record) -> tuple[int, int]:
        """Cohort and slot."""
        row = self.rows(f"SELECT cohort_id, slot FROM records WHERE id = '{record.id}'")[0]
        return int(row[0]), int(row[1])

    def rows(self, query: str) -> list[Any]:
        with self.vault.catalogue.read() as tx:
            return list(tx.execute(sa.text(query)))

    def value(self, query: str) -> Any:
        return self.rows(query)[0][0]

    def run(self, *statements: str) -> None:
        with self.vault.catalogue.write() as tx:
            for statement in statements:
                tx.execute(sa.text(statement))

    def catalogue_at_rest(self) -> bytes:
        return self.databases.at_rest(self.database, self.folder / "home")

    def copy(self, folder: Path, bucket: Bucket) -> "World":
        """The same vault at rest in another place; the caller hands in the copy of the bucket."""
        self.vault.catalogue.close()
        folder.mkdir(parents=True)
        shutil.copytree(self.folder / "home", folder / "home", ignore=shutil.ignore_patterns("catalogue.db*"))
        shutil.copytree(self.folder / "keys", folder / "keys")
        database = self.databases.copied(self.database, folder / "home")
        twin = World(
            folder,
            open_world_vault(folder, self.vault.vault_id, bucket, self.clock, database),
            self.clock,
            self.center,
            self.reviewer,
            self.databases,
            database,
            [Record(r.id, r.applicant, dict(r.documents)) for r in self.records],
        )
        # The copied keys stand in another folder.
        twin.run(f"UPDATE masters SET custodian = 'file:{folder / 'keys'}'")
        return twin

    def restart(self) -> None:
        """As after the death of the process: everything that is only in memory is gone."""
        self.vault.catalogue.close()
        self.vault = open_world_vault(self.folder, self.vault.vault_id, self.vault.bucket, self.clock, self.database)


def upload(vault: Vault, caller: Caller, record_id: str, name: str, content: bytes, chunk: int = 65_536) -> Filed:
    """Send a document as the service does."""
    sending = begin_upload(vault, caller, record_id, name, declared_size=len(content), declared_type=None)
    try:
        for start in range(0, len(content), chunk):
            sending.add(content[start : start + chunk])
            if sending.part_is_full:
                sending.send_part()
        return sending.finish()
    finally:
        sending.abort()


def open_world_vault(folder: Path, vault_id: bytes, bucket: Bucket, clock: SimulatedClock, database: str) -> Vault:
    home = folder / "home"
    return Vault(
        vault_id,
        Catalogue(database),
        bucket,
        Custody.of(FileCustodian(folder / "keys", away_from=home)),
        clock,
        lock_file=home / "destruction.lock",
        settle=lambda: None,
        time=simulated_sources(clock),
        signing=SigningKey.make(home, vault_id),
    )


def make_world(folder: Path, bucket: Bucket, databases: Databases) -> World:
    """Found a vault in `folder` over an empty bucket and an empty catalogue."""
    home = folder / "home"
    home.mkdir(parents=True, mode=0o700)
    database = databases.new(home)
    clock = SimulatedClock(START)
    vault = open_world_vault(folder, _RANDOM.randbytes(16), bucket, clock, database)
    custodian = FileCustodian(folder / "keys", away_from=home)
    founding = founded_by(Founding(home, "-", folder, "-", "-", custodian.uri, "America/New_York", 24))
    assert found_catalogue(vault, custodian, founding)
    callers = [authenticate(vault, create_token(vault, role, role.value)) for role in (Role.CENTER, Role.REVIEWER)]
    return World(folder, vault, clock, callers[0], callers[1], databases, database)


@dataclass
class Sealed:
    """Every root and key page seen so far: what an adversary would have copied."""

    roots: set[SealedRoot] = field(default_factory=set)
    pages: set[SealedPage] = field(default_factory=set)

    def gather(self, world: World, packs: Iterable[bytes] = ()) -> None:
        with world.vault.catalogue.read() as tx:
            for r in tx.execute(sa.select(roots)):
                tree = Tree(r.tree)
                self.roots.add(SealedRoot(tree, r.epoch, r.version, r.master, r.wrapped_key, r.sealed_page))
            for p in tx.execute(sa.select(sealed_pages)):
                self.pages.add(SealedPage(Tree(p.tree), p.cohort_id, p.version, p.live, p.sealed))
        for blob in packs:
            staged, _ = mirror.unpack(world.vault.vault_id, blob)
            self.roots.add(staged.root)
            self.pages.update(staged.pages)

    def reachable(self, world: World, *custodians: Custodian) -> set[tuple[int, int]]:
        """(cohort, slot) of every key that opens, with every use of every master these custodians have."""
        found: set[tuple[int, int]] = set()
        for root in self.roots:
            for custodian in custodians or (world.custodian,):
                for master in custodian.names():
                    candidate = SealedRoot(
                        root.tree, root.epoch, root.version, master, root.wrapped_key, root.sealed_page
                    )
                    try:
                        opened = OpenTree.open(world.vault.vault_id, candidate, custodian)
                    except KeystoreError:
                        continue
                    with opened:
                        found |= self._below(root.tree, opened)
        return found

    def _below(self, tree: Tree, opened: OpenTree) -> set[tuple[int, int]]:
        found: set[tuple[int, int]] = set()
        for sealed in self.pages:
            if sealed.tree is tree and opened.has(sealed.cohort):
                try:
                    page = opened.page(sealed)
                except SealBrokenError:
                    continue
                with page:
                    found |= {(sealed.cohort, slot) for slot in slots_of(page.bitmap)}
        return found
