from pathlib import Path

import pytest

from tests.keystore.trees import Trees


@pytest.fixture
def trees(tmp_path: Path) -> Trees:
    """Three cohorts of five records each; one record is held."""
    trees = Trees(tmp_path)
    for number in (1, 2, 3):
        trees.open_cohort(number)
    trees.hold((2, 3))
    return trees
