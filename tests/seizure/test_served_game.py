"""The seizure game, short, with real processes on the real object store."""

from pathlib import Path

import pytest

from tests.seizure.served_game import served_game
from tests.seizure.served_workload import COMMAND, WORKER, ServedWorkload
from tests.seizure.test_game import assert_lost, assert_wins_with_copies
from tests.services.memory import only_for_root


@pytest.mark.long
@only_for_root
def test_workers_commands_and_store_are_killed_and_the_oldest_backup_comes_back(
    scratch: Path, compiled: Path | None
) -> None:
    with served_game(scratch / "game", compiled) as played:
        workload = played.workload
        assert isinstance(workload, ServedWorkload)
        workload.run(SHORT)
        seizure = assert_lost(played)
        assert {COMMAND, WORKER} <= set(workload.kills)
        assert workload.complete >= 2
        assert workload.scans >= 2 * 3
        assert_wins_with_copies(seizure)


SHORT = 8
