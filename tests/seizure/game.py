"""One game: set a stage, run the workload, seize everything, judge."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from tests.seizure.canaries import Canaries
from tests.seizure.instruments import Notes, instrument
from tests.seizure.judges import Finding, Seizure, judge
from tests.seizure.recorder import Recorder, recorder_of
from tests.seizure.stages import CopiedStorage, folder_storage, set_stage
from tests.seizure.workload import Workload
from tests.vault.databases import Databases
from vault.objects import parts
from vault.records import uploads

SEED = 20_261_123
PART_BYTES = 64 * 2**10


@dataclass
class Game:
    """A game whose stage is set."""

    workload: Workload
    recorder: Recorder
    has_copies: bool = False
    """Whether the adversary has copied the custodian's storage before the old masters died."""
    printed: bool = False
    """Whether the last certificate is printed too, which takes a second."""

    def seize(self) -> Seizure:
        """The vault has said that its destructions are complete: everything is in the adversary's hands now."""
        self.recorder.take_papers(printed=self.printed)
        self.recorder.snapshot()
        return Seizure(self.recorder, self.workload)

    def verdicts(self) -> list[Finding]:
        """What all judges find; nothing, where the adversary has lost."""
        seizure = self.seize()
        return judge(seizure, seizure.attack_with_copies() if self.has_copies else seizure.attack())


@contextmanager
def game(
    folder: Path,
    databases: Databases,
    *,
    seed: int = SEED,
    uri: str = "",
    storage: CopiedStorage | None = None,
) -> Iterator[Game]:
    """Set the stage; the custodian keeps files unless `uri` names another."""
    random = Random(seed)
    notes = Notes()
    folder.mkdir(parents=True, exist_ok=True)
    keys = folder / "keys"
    with pytest.MonkeyPatch.context() as patch:
        instrument(patch.setattr, notes)
        # Parts of an upload are small, or they were most of what is recorded and searched.
        patch.setattr(uploads, "PART_BYTES", PART_BYTES)
        patch.setattr(parts, "PART_BYTES_MIN", PART_BYTES)
        stage = set_stage(folder, databases, notes, random, uri or f"file:{keys}", storage or folder_storage(keys))
        try:
            with recorder_of(stage, patch) as recorder:
                yield Game(Workload(stage, random, Canaries(random), recorder.snapshot), recorder)
        finally:
            stage.close()
