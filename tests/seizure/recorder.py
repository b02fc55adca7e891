"""The recorder: after each step a copy of everything outside the custodian that the adversary could have copied."""

import logging
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.seizure.attested import papers_of
from tests.seizure.instruments import watching_files
from tests.seizure.recording import Recording
from tests.seizure.stages import Stage
from tests.seizure.temporary import TemporaryFolder
from tests.vault.databases import OnServer
from tests.vault.memory_s3 import MemoryBucket
from vault.catalogue.schema import documents, records, roots, sealed_pages


class Recorder:
    """Records one stage."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.recording = Recording(stage.folder / "recording")
        self._temporary = TemporaryFolder(stage.folder / "tmp", partial(stage.notes.note, "wrote"))

    def snapshot(self) -> None:
        """Take everything as it is now."""
        self.recording.step += 1
        self._take_files()
        self._take_database()
        self._take_bucket()
        self._take_rows()

    def take_papers(self, *, printed: bool) -> None:
        """Take what the vault gives to whoever asks: certificates, extracts of the ledger, answers to receipts.

        Whoever prints a certificate has fonts cut to size in a temporary folder; that one is no place of the vault's.
        """
        (self.stage.folder / "printing").mkdir(exist_ok=True)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tempfile, "tempdir", str(self.stage.folder / "printing"))
            for name, content in papers_of(self.stage.world.vault, printed=printed):
                self.recording.take("papers", name, content)

    def told(self, path: str, removed: bool) -> None:  # noqa: FBT001 - an audit hook's callback
        """A file of the temporary folder is about to be written anew, or removed: it is taken before."""
        place, folder = Path(path), self.stage.folder / "tmp"
        if place.is_relative_to(folder):
            if place.is_file():
                self.recording.take_file("temporary", place, str(place.relative_to(folder)))
            self._temporary.told(path, removed)

    def _take_files(self) -> None:
        folder = self.stage.folder
        self.recording.take_folder("home", folder / "world")
        self.recording.take_folder("temporary", folder / "tmp")
        if (folder / "log").exists():
            self.recording.tail("logs", folder / "log")

    def _take_database(self) -> None:
        databases = self.stage.world.databases
        if isinstance(databases, OnServer):
            self.recording.take("database", "files", self.stage.world.catalogue_at_rest())
            self.recording.take_folder("log of the database", databases.server.data / "pg_wal")

    def _take_bucket(self) -> None:
        bucket = self.stage.world.vault.bucket
        assert isinstance(bucket, MemoryBucket)
        for name, versions in bucket.s3.versions.items():
            self.recording.take("names", name, name.encode())
            for version, content, _ in versions:
                # A version never changes.
                if content is not None and ("bucket", f"object {name}@{version}") not in self.recording.states:
                    self.recording.take("bucket", f"object {name}@{version}", content)
        for upload, (name, _, parts) in bucket.s3.unfinished.items():
            self.recording.take("names", name, name.encode())
            for number, content in parts.items():
                self.recording.take("bucket", f"part {name}@{upload}.{number}", content)

    def _take_rows(self) -> None:
        with self.stage.world.vault.catalogue.read() as tx:
            for r in tx.execute(sa.select(roots)):
                name = f"root/{r.tree}/{r.epoch}/{r.version}/{len(r.wrapped_key)}"
                self._take_row(name, r.wrapped_key + r.sealed_page)
            for p in tx.execute(sa.select(sealed_pages)):
                self._take_row(f"page/{p.tree}/{p.cohort_id}/{p.version}", p.sealed)
            for s in tx.execute(sa.select(records.c.id, records.c.cohort_id, records.c.slot, records.c.sheet)):
                if s.sheet is not None:
                    self._take_row(f"sheet/{s.id}/{s.cohort_id}/{s.slot}", s.sheet)
            for d in tx.execute(sa.select(documents)):
                self._take_row(f"slip/{d.record_id}/{d.id}/{d.object_name}", d.slip)

    def _take_row(self, name: str, data: bytes) -> None:
        self.recording.take("rows", name, data)


@contextmanager
def recorder_of(stage: Stage, patch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    """Record, with logs at full verbosity and a temporary folder of the stage's own."""
    (stage.folder / "tmp").mkdir()
    patch.setattr(tempfile, "tempdir", str(stage.folder / "tmp"))
    recorder = Recorder(stage)
    handler = logging.FileHandler(stage.folder / "log", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(name)s %(message)s"))
    root = logging.getLogger()
    level = root.level
    with ExitStack() as closing:
        closing.callback(recorder.recording.close)
        closing.callback(handler.close)
        closing.callback(root.setLevel, level)
        closing.callback(root.removeHandler, handler)
        root.addHandler(handler)
        root.setLevel(logging.DEBUG)
        closing.enter_context(watching_files(recorder.told))
        yield recorder
