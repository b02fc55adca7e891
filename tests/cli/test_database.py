"""A vault whose catalogue is on PostgreSQL, from the command line."""

import json
import secrets

from tests.cli.operator import Operator
from tests.people import written_policy
from tests.services.postgresql import Server


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


def test_a_restored_database_is_refused_and_rebuilt_into_an_empty_one(
    stranger: Operator, database: str, postgresql: Server
) -> None:
    """As the operator's page says it."""
    name = database.partition("?")[0].rpartition("/")[2]
    assert stranger.run("init", "--database", database, *written_policy(stranger.folder)).code == 0
    _, held = stranger.file(2)
    postgresql.run(f"CREATE DATABASE {name}_backup TEMPLATE {name}")
    postgresql.run(f"CREATE DATABASE {name}_empty")
    try:
        assert stranger.run("hold", "place", held, "--kind", "audit", "--authority", "A", "--docket", "1").code == 0
        assert stranger.run("sweep").code == 0
        name_database(stranger, database.replace(name, f"{name}_backup"))
        for words in (("sweep",), ("recover",)):
            refused = stranger.run(*words)
            assert (refused.code, "shredvault rebuild" in refused.err) == (4, True), refused
        noticed = stranger.run("status", "--check")
        assert (noticed.code, "older than the bucket" in noticed.err) == (11, True), noticed
        assert stranger.run("rebuild").code == 9, "the database is not empty"
        name_database(stranger, database.replace(name, f"{name}_empty"))
        done = stranger.run("rebuild", "--json")
        assert (done.code, done.data["records"], done.data["held"]) == (0, 1, 1), done
        assert stranger.run("recover").code == 0
        assert stranger.run("status", "--check").code == 0
    finally:
        for suffix in ("backup", "empty"):
            postgresql.run(f"DROP DATABASE {name}_{suffix} WITH (FORCE)")


def name_database(operator: Operator, url: str) -> None:
    settings = operator.home / "vault.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"database": url}))
