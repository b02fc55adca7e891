"""`shredvault rebuild` and `shredvault custodian`, as an operator meets them."""

from datetime import timedelta
from pathlib import Path

from tests.cli.conftest import Operator


def test_a_lost_catalogue_is_rebuilt(operator: Operator) -> None:
    (living,) = operator.file(1, ago=timedelta(days=1))
    for left in operator.home.glob("catalogue.db*"):
        left.unlink()
    done = operator.run("rebuild", "--json")
    assert done.code == 0, done.err
    assert (done.data["records"], done.data["lost"], done.data["tokens"]) == (1, [], 0)
    assert done.data["masters_discarded"] >= 2
    status = operator.run("status", "--json")
    assert status.data["records"] == {"retained": 1}
    assert operator.run("hold", "place", living, "--kind", "audit", "--authority", "A", "--docket", "16-cv-1").code == 0
    assert operator.run("scrub", "--yes", "--json").data["counts"]["records_destroyed"] == 0


def test_a_restored_backup_is_refused_and_then_brought_forward(operator: Operator) -> None:
    operator.file(1)
    backup = {path.name: path.read_bytes() for path in operator.home.glob("catalogue.db*")}
    assert operator.run("sweep", "--json").data["counts"]["records_destroyed"] == 1
    for path in operator.home.glob("catalogue.db*"):
        path.unlink()
    for name, content in backup.items():
        (operator.home / name).write_bytes(content)
    refused = operator.run("sweep")
    assert refused.code != 0
    assert "restored from a backup" in refused.err
    done = operator.run("rebuild", "--json")
    assert done.code == 0, done.err
    assert done.data["records"] == 0
    assert done.data["tokens"] >= 1
    assert list(operator.home.glob("catalogue.db.before-*"))
    assert operator.run("status", "--json").data["records"].get("retained", 0) == 0


def test_the_vault_moves_to_another_custodian(operator: Operator, tmp_path: Path) -> None:
    operator.file(1, ago=timedelta(days=1))
    there = f"file:{tmp_path}/elsewhere"
    moved = operator.run("custodian", "move", there, "--json")
    assert moved.code == 0, moved.err
    assert [one["kind"] for one in moved.data] == ["move", "move"]
    shown = operator.run("custodian", "show", "--json").data
    assert {one["custodian"] for one in shown["masters"]} == {there}
    assert there in shown["allowed"]
    assert operator.run("status", "--json").data["records"] == {"retained": 1}
    again = operator.run("custodian", "move", there)
    assert (again.code, "already" in again.out) == (0, True)
    assert operator.run("custodian", "renew").code == 0
    assert operator.run("scrub", "--yes", "--json").data["counts"]["records_destroyed"] == 1
