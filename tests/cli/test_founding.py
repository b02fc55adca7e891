import json
from pathlib import Path

from tests.cli.operator import Operator


def test_init_twice_says_so_and_changes_nothing(stranger: Operator) -> None:
    first = stranger.run("init", "--json")
    assert (first.code, first.data["founded"]) == (0, True)
    settings = (stranger.home / "vault.json").read_bytes()

    again = stranger.run("init")

    assert again.code == 0
    assert "already; nothing was changed" in again.out
    assert (stranger.home / "vault.json").read_bytes() == settings
    assert stranger.home.stat().st_mode & 0o777 == 0o700


def test_init_with_other_choices_is_refused(operator: Operator) -> None:
    for words in (("--bucket", "another"), ("--retention-months", "12")):
        refused = operator.run("init", *words)
        assert refused.code == 9
        assert "another choice" in refused.err
    assert operator.run("init", "--retention-months", "24").code == 0


def test_a_vault_without_approvers_files_and_destroys_nothing(stranger: Operator) -> None:
    founded = stranger.run("init")
    unsigned = "not approved by records-authority, counsel and agency-head"
    assert (founded.code, unsigned in founded.err) == (0, True)
    assert unsigned in stranger.run("init").err, "nor does a second one approve anything"
    assert f"{unsigned}: nothing is destroyed" in stranger.run("status").out
    stranger.file(1)
    foreseen = stranger.run("sweep", "--dry-run")
    assert (foreseen.code, ", if it were not refused. Nothing" in foreseen.out, unsigned in foreseen.err) == (
        0,
        True,
        True,
    )
    refused = stranger.run("sweep")
    assert (refused.code, "shredvault policy adopt" in refused.err) == (4, True)
    assert stranger.states() == {"retained": 1}
    assert "Nobody stands in it" in stranger.run("policy", "show").out


def test_keys_inside_the_home_are_refused(stranger: Operator) -> None:
    refused = stranger.run("init", "--custodian", f"file:{stranger.home}/keys")
    assert refused.code == 4
    assert "must lie apart" in refused.err
    assert not (stranger.home / "vault.json").exists()


def test_a_folder_with_other_things_is_refused(stranger: Operator) -> None:
    stranger.home.mkdir()
    (stranger.home / "letter.txt").write_text("mine")
    refused = stranger.run("init")
    assert refused.code == 9
    assert "not empty" in refused.err


def test_credentials_are_needed_and_never_read_from_an_open_file(stranger: Operator) -> None:
    without = {"SHREDVAULT_S3_ACCESS_KEY": "", "SHREDVAULT_S3_SECRET_KEY": ""}
    assert stranger.run("init", **without).code == 2
    half = stranger.run("init", SHREDVAULT_S3_SECRET_KEY="")
    assert (half.code, "belong together" in half.err) == (2, True)

    secret = stranger.environment["SHREDVAULT_S3_SECRET_KEY"]
    file = Path(stranger.folder / "s3.json")
    file.write_text(json.dumps({"access_key": stranger.environment["SHREDVAULT_S3_ACCESS_KEY"], "secret_key": secret}))
    file.chmod(0o644)
    open_to_all = stranger.run("init", "--s3-credentials-file", str(file), **without)
    assert (open_to_all.code, "0600" in open_to_all.err) == (4, True)
    assert secret not in open_to_all.err
    file.chmod(0o600)
    assert stranger.run("init", "--s3-credentials-file", str(file), **without).code == 0


def test_settings_that_cannot_be_used_are_named(stranger: Operator) -> None:
    wrong = stranger.run("init", SHREDVAULT_RETENTION_MONTHS="secret-looking")
    assert wrong.code == 2
    assert "SHREDVAULT_RETENTION_MONTHS" in wrong.err
    assert "secret-looking" not in wrong.err
    assert stranger.run("init", "--time-zone", "Mars/Olympus").code == 2


def test_an_unknown_home_and_one_of_another_version(operator: Operator) -> None:
    for words in (("status",), ("serve",), ("hold", "list")):
        missing = operator.run(*words, "--home", str(operator.folder / "elsewhere"))
        assert missing.code == 9, words
        assert "`shredvault init` founds one" in missing.err

    path = operator.home / "vault.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 2}))
    for words in (("sweep",), ("init",)):
        other = operator.run(*words)
        assert other.code == 9, words
        assert "another version" in other.err


def test_tokens_are_shown_once_listed_and_revoked(operator: Operator) -> None:
    made = operator.run("access", "create", "--role", "center", "--label", "Queens center")
    token = made.out.strip()
    assert token.startswith("svt_")
    assert "shown once" in made.err

    (line,) = operator.run("access", "list", "--json").data
    assert set(line) == {"id", "role", "label", "created_at", "revoked_at"}
    assert line["revoked_at"] is None
    assert operator.run("access", "revoke", line["id"]).code == 0
    assert operator.run("access", "list", "--json").data[0]["revoked_at"] is not None
    assert operator.run("access", "revoke", "nobody").code == 3
    assert operator.run("access", "create", "--role", "king", "--label", "x").code == 2
    assert operator.run("access", "create", "--role", "center", "--label", "").code == 4
