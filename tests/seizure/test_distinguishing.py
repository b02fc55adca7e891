"""W2, short: the adversary guesses no better than chance who was destroyed; with a global index he always knows."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.seizure.bounds import clopper_pearson
from tests.seizure.distinguishing import add_global_index, add_index_in_the_journal, play
from tests.seizure.game import SEED
from tests.vault.databases import Databases, on_sqlite

TRIALS = 40


@on_sqlite
def test_whose_records_were_destroyed_is_a_coin_toss(scratch: Path, databases: Databases) -> None:
    low, high = clopper_pearson(play(scratch / "game", databases, trials=TRIALS, seed=SEED), TRIALS)
    assert low < 0.5 < high


@on_sqlite
@pytest.mark.parametrize("add_index", [add_global_index, add_index_in_the_journal])
def test_an_index_under_one_key_is_caught(
    scratch: Path,
    databases: Databases,
    monkeypatch: pytest.MonkeyPatch,
    add_index: Callable[[pytest.MonkeyPatch], None],
) -> None:
    add_index(monkeypatch)
    low, _ = clopper_pearson(play(scratch / "game", databases, trials=TRIALS, seed=SEED), TRIALS)
    assert low > 0.5


@pytest.mark.parametrize(("wins", "trials", "low", "high"), [(0, 10, 0, 0.3085), (5, 10, 0.1871, 0.8129)])
def test_the_bound_is_the_exact_one(wins: int, trials: int, low: float, high: float) -> None:
    assert clopper_pearson(wins, trials) == pytest.approx((low, high), abs=1e-4)
