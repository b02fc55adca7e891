"""A key service that ends a master key by itself, and a decision to keep what lies under it (S7)."""

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from tests.cli.operator import Operator, Outcome
from tests.cli.test_orders import sign
from tests.people import COUNSEL, HEAD, TERMS, written_policy
from tests.people import submitted as handed_in
from vault.catalogue.law import time_marks
from vault.context import Vault
from vault.destruction.drafting import draft
from vault.home import open_vault
from vault.law.policy import Policy, Sunset
from vault.orders import Action


def decide(operator: Operator, *what: str) -> Outcome:
    order = operator.folder / f"decision-{len(list(operator.folder.iterdir()))}.json"
    words = ("--reason", "A suit.", "--legal-basis", "Act 1")
    order.write_text(operator.run("sunset", "decide", *what, *words).out)
    done = operator.run("order", "submit", str(order), *sign(operator, order, HEAD, COUNSEL))
    assert done.code == 0, done.err
    return done


def suspect_since(vault: Vault, at: datetime | None) -> None:
    with vault.catalogue.write() as tx:
        tx.execute(sa.update(time_marks).values(suspect_since=at, why=at and "Time jumped forward by 2 hours."))


def test_with_the_decision_to_preserve_the_key_gets_another_end(stranger: Operator, ministack: str) -> None:
    today = datetime.now(UTC).date()
    deadline = today + timedelta(days=90)
    sunset = Sunset(today - timedelta(days=1), today + timedelta(days=60), deadline, "DESTROY", {"program": True})
    settings = {"AWS_ACCESS_KEY_ID": "111122223333", "AWS_SECRET_ACCESS_KEY": "none", "AWS_CONFIG_FILE": os.devnull}
    operator = replace(stranger, environment=stranger.environment | settings)
    policy = written_policy(operator.folder, Policy(1, "America/New_York", sunset=sunset))
    founded = operator.run("init", "--custodian", f"awskms:us-east-1?endpoint={ministack}", *policy)
    assert founded.code == 0, founded.err

    def ends() -> dict[str, datetime]:
        masters = operator.run("custodian", "show", "--json").data["masters"]
        return {one["tree"]: datetime.fromisoformat(one["expires_at"]) for one in masters}

    before = ends()
    assert abs(before["active"].date() - deadline) <= timedelta(days=1)
    assert before["held"].date() > deadline + timedelta(days=2)

    submitted = decide(operator, "preserve", "--until", str(deadline + timedelta(days=365)))

    assert submitted.code == 0, submitted.err
    assert "was to end with the deadline; it was replaced" in submitted.err
    assert "run `shredvault custodian renew`" not in submitted.err
    assert ends()["active"].date() > deadline + timedelta(days=2)
    assert ends()["held"] == before["held"]

    # Taken back, and bound again; then it comes over HTTP while time is suspect: the sweep renews before it refuses.
    decide(operator, "destroy")
    assert operator.run("custodian", "renew").code == 0
    assert abs(ends()["active"].date() - deadline) <= timedelta(days=1)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        with open_vault(operator.home) as vault:
            scope = {"deadline": deadline.isoformat(), "until": (deadline + timedelta(days=365)).isoformat()}
            handed_in(vault, draft(vault, Action.PRESERVE, scope, TERMS), HEAD, COUNSEL)
            suspect_since(vault, vault.clock.now())
    watched = operator.run("status", "--check")
    assert (watched.code, "the destroyer's next `shredvault sweep` replaces it" in watched.err) == (11, True), watched
    swept = operator.run("sweep")
    assert (swept.code, "it was replaced" in swept.err, "suspect" in swept.err) == (4, True, True), swept
    assert ends()["active"].date() > deadline + timedelta(days=2)

    # A hold on what is filed later takes the end away at once, too.
    with open_vault(operator.home) as vault:
        suspect_since(vault, None)
    decide(operator, "destroy")
    assert operator.run("custodian", "renew").code == 0
    assert abs(ends()["active"].date() - deadline) <= timedelta(days=1)
    held = operator.run("hold", "place", "--program", "--kind", "audit", "--authority", "A", "--docket", "1")
    assert (held.code, "it was replaced" in held.err) == (0, True), held
    assert ends()["active"].date() > deadline + timedelta(days=2)
    assert operator.run("status", "--check").code == 0
