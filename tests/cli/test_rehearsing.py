"""`shredvault rehearse`: the story of `tests/replay` on a real object store, and what is left of it."""

from pathlib import Path

from tests.cli.operator import Operator
from vault.certificates import verify_certificate


def test_a_rehearsal_tells_the_truth_and_leaves_only_its_papers(
    newcomer: Operator, tmp_path: Path, scratch: Path
) -> None:
    temporary = scratch / "tmp"
    temporary.mkdir()
    kept = tmp_path / "kept"
    told = newcomer.run("rehearse", "--json", "--records", "5", "--keep", str(kept), TMPDIR=str(temporary))
    assert told.code == 0, told.err
    assert [claim for claim in told.data["claims"] if not claim["true"]] == []
    assert len({claim["day"] for claim in told.data["claims"]}) >= 20
    assert {Path(path) for path in told.data["papers"]} == set(kept.iterdir())
    assert sorted(path.suffix for path in kept.iterdir()) == [".json", ".json", ".pdf", ".pdf"]
    assert list(temporary.iterdir()) == []
    # A rehearsal has no key that anybody could trust.
    assert all(verify_certificate.REHEARSAL.encode() in path.read_bytes() for path in kept.glob("*.json"))


def test_a_rehearsal_needs_a_record_for_each_of_its_days(newcomer: Operator) -> None:
    assert newcomer.run("rehearse", "--records", "4").code == 2
