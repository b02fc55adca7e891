import json
from datetime import timedelta
from pathlib import Path

import pytest

from tests.cli.operator import Operator
from tests.cli.terminal import INTERRUPT, at_a_terminal
from vault.destruction import carrying_out as destruction
from vault.destruction.frozen_lists import freeze_sweep
from vault.home import open_vault

RECORD_KEYS = {
    "format", "id", "kind", "authority", "list_root", "counts", "times", "reclaim", "masters", "observed",
    "cannot_prove", "path",
}  # fmt: skip


class PowerCutError(Exception):
    """Where a destruction is cut off."""


def cut_off(operator: Operator, at: str) -> str:
    """Begin a sweep and break off as one of its steps begins."""

    def progress(step: str) -> None:
        if step == at:
            raise PowerCutError

    with open_vault(operator.home) as vault:
        frozen = freeze_sweep(vault)
        with pytest.raises(PowerCutError):
            destruction.carry_out(vault, frozen, progress)
    return frozen


def test_a_sweep_takes_what_is_due_and_writes_down_what_was_observed(operator: Operator) -> None:
    operator.file(2)
    operator.file(1, ago=timedelta(days=1))

    swept = operator.run("sweep", "--json")

    assert swept.code == 0
    assert set(swept.data) == RECORD_KEYS | {"seconds"}
    assert swept.data["authority"].startswith("standing policy version 1, approved by ada.head, ")
    assert swept.data["counts"]["records_destroyed"] == 2
    assert swept.data["times"]["reclaimed"]
    written = json.loads(Path(swept.data["path"]).read_text())
    assert written == {name: value for name, value in swept.data.items() if name not in {"path", "seconds"}}
    assert operator.states() == {"destroyed": 2, "retained": 1}

    shown = operator.run("destruction", "show", written["id"], "--json")
    assert shown.data == written | {"path": swept.data["path"]}
    (line,) = operator.run("destruction", "list", "--json").data
    assert line == written
    assert written["id"] in operator.run("destruction", "show", written["id"]).out
    assert operator.run("destruction", "show", "nothing").code == 3
    assert operator.run("sweep", "--json").data["counts"]["listed"] == 0


@pytest.mark.parametrize("cause", ["sweep", "scrub"])
def test_a_dry_run_tells_and_changes_nothing(operator: Operator, cause: str) -> None:
    due = operator.file(2)
    operator.file(1, ago=timedelta(days=1))
    operator.run("hold", "place", due[0], "--kind", "audit", "--authority", "A", "--docket", "1")
    before = operator.run("status", "--json").data

    told = operator.run(cause, "--dry-run", "--json")

    assert told.code == 0
    assert (
        told.data
        == {
            "sweep": {
                "cause": "sweep",
                "at_most": False,
                "dies": 1,
                "lives": 2,
                "would_die": {"due": 1},
                "would_live": {"held": 1, "not eligible": 1},
            },
            "scrub": {
                "cause": "scrub",
                "at_most": True,
                "dies": 2,
                "lives": 1,
                "would_die": {"ordered": 2},
                "would_live": {"held": 1},
            },
        }[cause]
    )
    after = operator.run("status", "--json").data
    assert {**after, "now": 0} == {**before, "now": 0}
    assert operator.run("destruction", "list", "--json").data == []


def test_what_object_lock_keeps_is_shown_and_alarms_nobody(operator: Operator) -> None:
    (record,) = operator.file(1)
    name = f"records/{record}"

    def hold(status: str) -> None:
        with open_vault(operator.home) as vault:
            s3, bucket = vault.bucket._s3, vault.bucket._name
            lock = {"ObjectLockEnabled": "Enabled"}
            s3.put_object_lock_configuration(Bucket=bucket, ObjectLockConfiguration=lock)  # type: ignore[attr-defined]
            for at in vault.bucket.versions(name):
                kept = {"Bucket": bucket, "Key": name, "VersionId": at.version_id}
                s3.put_object_legal_hold(**kept, LegalHold={"Status": status})  # type: ignore[attr-defined]

    hold("ON")
    swept = operator.run("sweep", "--json")
    assert (swept.code, swept.data["counts"]["records_destroyed"]) == (0, 1)
    assert swept.data["reclaim"]["state"] == "all but what is locked"
    assert json.loads(Path(swept.data["path"]).read_text())["reclaim"] == swept.data["reclaim"]
    (kept,) = operator.run("status", "--json").data["locked"]["objects"]
    assert (kept["name"], kept["until"]) == (name, "legal hold")
    assert operator.run("status", "--check").code == 0
    assert "1 locked objects, 1 on legal hold" in operator.run("status").out
    assert "1 locked objects" in operator.run("destruction", "show", swept.data["id"]).out
    assert "1 locked objects" in operator.run("recover").out
    hold("OFF")
    assert operator.run("recover", "--json").data["locked_objects"] == 0
    assert operator.run("destruction", "show", swept.data["id"], "--json").data["reclaim"]["state"] == "done"


def test_a_scrub_without_a_terminal_needs_yes(operator: Operator) -> None:
    operator.file(2)
    refused = operator.run("scrub", operator.order_scrub(), typed="destroy 2 records\n")
    assert refused.code == 8
    assert "Nothing was destroyed" in refused.err
    assert operator.states() == {"retained": 2}
    assert (
        operator.run("scrub", operator.order_scrub(), "--yes", "--no-reclaim", "--json").data["times"]["reclaimed"]
        is None
    )
    assert operator.states() == {"destroyed": 2}
    assert operator.run("status", "--check").code == 11
    assert operator.run("recover", "--json").data["reclaimed_records"] == 2
    assert operator.run("status", "--check").code == 0


def test_a_scrub_at_a_terminal_needs_the_exact_phrase(operator: Operator) -> None:
    operator.file(2)
    order = operator.order_scrub()
    for wrong in ("destroy 3 records\n", "\x04"):
        code, shown = at_a_terminal(operator, wrong, "scrub", order)
        assert code == 8, shown
        assert "Nothing was destroyed" in shown
    code, _ = at_a_terminal(operator, INTERRUPT, "scrub", order)
    assert code == 130
    assert operator.states() == {"retained": 2}

    code, shown = at_a_terminal(operator, "destroy 2 records\n", "scrub", order)

    assert code == 0, shown
    assert f"order {order}, approved by" in shown
    assert operator.states() == {"destroyed": 2}


def test_a_destruction_cut_off_early_is_undone(operator: Operator) -> None:
    operator.file(2)
    cut_off(operator, "stage")
    assert operator.run("status", "--check").code == 11
    refused = operator.run("sweep")
    assert (refused.code, "shredvault recover" in refused.err) == (4, True)

    recovered = operator.run("recover", "--json")

    assert recovered.code == 0
    assert (len(recovered.data["undone"]), recovered.data["masters_discarded"]) == (1, 1)
    assert operator.states() == {"retained": 2}
    assert operator.run("sweep", "--json").data["counts"]["records_destroyed"] == 2


def test_a_destruction_cut_off_late_is_finished(operator: Operator) -> None:
    operator.file(2)
    frozen = cut_off(operator, "destroy master")
    assert operator.states() == {"condemned": 2}

    recovered = operator.run("recover", "--json")

    assert recovered.data["finished"] == [frozen]
    assert recovered.data["reclaimed_records"] == 2
    assert operator.states() == {"destroyed": 2}
    assert (operator.home / "destructions" / f"sweep-{frozen}.json").exists()
    assert "nothing to do" in operator.run("recover").out
    assert operator.run("status", "--check").code == 0


def test_status_tells_what_is_overdue(operator: Operator) -> None:
    held, _ = operator.file(2)
    operator.run("hold", "place", held, "--kind", "audit", "--authority", "A", "--docket", "1")
    seen = operator.run("status", "--check", "--json")
    assert seen.code == 11
    assert (seen.data["to_sweep"], seen.data["held"], seen.data["records"]) == (1, 1, {"retained": 2})
    # Three years old: past the end of its quarter, and past the last day that the policy leaves (P1).
    overdue = seen.data["alarms"]["overdue"]
    assert (overdue["past_quarter"], overdue["past_limit"], len(seen.data["attention"])) == (1, 1, 3)
    calm = operator.run("status")
    assert calm.code == 0
    assert "run `shredvault sweep`" in calm.err
