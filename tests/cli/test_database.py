"""A vault whose catalogue is on PostgreSQL, from the command line."""

import json
import secrets

from tests.cli.operator import Operator
from tests.people import written_policy


def test_a_vault_on_postgresql_is_founded_filled_and_swept(stranger: Operator, database: str) -> None:
    words = ("init", "--database", database, *written_policy(stranger.folder))
    assert stranger.run(*words).code == 0
    assert stranger.run(*words).code == 0
    assert not (stranger.home / "catalogue.db").exists()
    assert json.loads((stranger.home / "vault.json").read_text())["database"] == database
    dead, held = stranger.file(2)
    assert stranger.run("hold", "place", held, "--kind", "audit", "--authority", "A", "--docket", "24-CV-1").code == 0
    assert stranger.run("sweep").code == 0
    assert stranger.states() == {"destroyed": 1, "retained": 1}
    assert stranger.run("recover").code == 0
    assert stranger.run("status", "--check").code == 0
    assert dead != held


def test_another_database_than_the_founded_one_is_refused(operator: Operator, database: str) -> None:
    refused = operator.run("init", "--database", database)
    assert refused.code != 0
    assert "database" in refused.err
    assert operator.run("status").code == 0


def test_a_password_in_the_url_is_refused_and_not_repeated(stranger: Operator) -> None:
    secret = secrets.token_hex(8)
    refused = stranger.run("init", "--database", f"postgresql://user:{secret}@127.0.0.1/vault")
    assert refused.code != 0
    assert "password" in refused.err
    assert secret not in refused.err + refused.out
    assert not (stranger.home / "vault.json").exists()


def test_a_mistyped_database_is_told_and_leaves_nothing_behind(stranger: Operator, database: str) -> None:
    refused = stranger.run("init", SHREDVAULT_DATABASE=database.replace("/cli_", "/no_"))
    assert refused.code != 0
    assert "no such database" in refused.err
    assert not stranger.home.exists()
    assert stranger.run("init", SHREDVAULT_DATABASE=database).code == 0
