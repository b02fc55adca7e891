"""The key folder is out of reach: nothing is changed, nothing is made anew, and the advice is not to rebuild."""

from tests.cli.operator import Operator
from tests.people import written_policy

UNAVAILABLE, INCIDENT = 6, 10


def test_nothing_is_changed_while_the_key_folder_is_away(operator: Operator) -> None:
    due = operator.file(1)[0]
    keys, away = operator.folder / "keys", operator.folder / "keys.away"
    keys.rename(away)
    for words in (
        ("sweep",), ("recover",), ("rebuild",), ("custodian", "renew"), ("custodian", "allow", f"file:{keys}"),
        ("init", *written_policy(operator.folder)),
    ):  # fmt: skip
        refused = operator.run(*words)
        assert refused.code == UNAVAILABLE, (words, refused)
        assert "rebuild" not in refused.err
        assert not keys.exists(), words
    assert "not there" in operator.run("sweep").err
    looked = operator.run("status", "--check")
    assert (looked.code, "is out of reach: nothing can be filed" in looked.err) == (11, True), looked

    # A hold never waits for the custodian (H2).
    placed = operator.run("hold", "place", due, "--kind", "audit", "--authority", "Comptroller", "--docket", "A-1")
    assert (placed.code, "in force" in placed.err) == (0, True), placed
    # Another, empty folder in its place: the custodian answers, and has no master.
    keys.mkdir(mode=0o700)
    for words in (("sweep",), ("recover",)):
        refused = operator.run(*words)
        assert (refused.code, "No `rebuild` brings" in refused.err) == (INCIDENT, True), refused
    assert operator.run("rebuild").code == INCIDENT
    assert operator.run("hold", "place", "--program", "--kind", "audit", "--authority", "C", "--docket", "1").code == 0
    assert list(keys.iterdir()) == []
    keys.rmdir()

    away.rename(keys)
    seen = operator.run("status", "--json").data
    assert (seen["unfinished_destructions"], seen["records"]) == ([], {"retained": 1})
    recovered = operator.run("recover", "--json").data
    assert (recovered["undone"], recovered["held_keys_copied"]) == ([], True)
    assert operator.run("sweep", "--json").data["counts"]["not_listed"] == {"held": 1}
