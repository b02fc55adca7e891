"""A game with real processes: a service with workers, a real object store, commands that are killed."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random

from keystore import open_custodian
from tests.seizure.canaries import Canaries
from tests.seizure.conductor import Conductor
from tests.seizure.game import SEED, Game
from tests.seizure.instruments import Notes
from tests.seizure.served_recorder import ServedRecorder
from tests.seizure.served_workload import ServedWorkload
from tests.seizure.served_world import found_served_world
from tests.seizure.stages import Stage, folder_storage


@contextmanager
def served_game(
    folder: Path, compiled: Path | None, *, seed: int = SEED, thorough: bool = False, faults: Iterable[str] = ()
) -> Iterator[Game]:
    """Found and serve a vault in `folder`; programs keep their compiled modules in `compiled`, or beside them."""
    random = Random(seed)
    notes = Notes()
    folder.mkdir(parents=True)
    with ExitStack() as closing:
        conductor = Conductor(folder, notes)
        closing.callback(conductor.close)
        world = found_served_world(folder, compiled, conductor, closing, ",".join(faults))
        keys = folder / "keys"
        real = open_custodian(f"file:{keys}", away_from=world.operator.home)
        stage = Stage(folder, world, real, notes, folder_storage(keys))
        recorder = ServedRecorder(stage, conductor)
        closing.callback(recorder.recording.close)
        workload = ServedWorkload(stage, random, Canaries(random), recorder.snapshot, thorough=thorough)
        yield Game(workload, recorder)
