"""`shredvault rehearse`: the story of `tests/replay` on a real object store, and what is left of it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from api.cli.app import app
from api.cli.exits import CommandError
from api.cli.rehearsal_story import Story
from tests.cli.operator import Operator
from vault.certificates import verify_certificate
from vault.destruction.carrying_out import carry_out
from vault.destruction.frozen_lists import freeze_sweep


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


def test_a_claim_that_is_untrue_is_an_incident(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thief opens everything, and a verifier that takes a rehearsal's certificate for real: each is told."""

    def play(story: Story) -> None:
        # The first and the last turn of the real story; in between the thief wins.
        story._file()
        story._claim("the thief opens nothing", true=False)
        story._certify(carry_out(story.place.vault, freeze_sweep(story.place.vault)).id)

    monkeypatch.setattr(Story, "play", play)
    monkeypatch.setattr(verify_certificate, "verify", lambda *_: [])
    told = CliRunner().invoke(app, ["rehearse", "--records", "5", "--keep", str(tmp_path / "kept"), "--json"])
    assert isinstance(told.exception, CommandError)
    assert (told.exception.code, str(told.exception)) == (10, "2 claims did not come out true.")
    untrue = [claim["says"] for claim in json.loads(told.stdout)["claims"] if not claim["true"]]
    assert untrue == ["the thief opens nothing", "the certificate of a rehearsal does not pass for a real one"]
