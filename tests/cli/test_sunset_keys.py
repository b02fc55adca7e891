"""A key service that ends a master key by itself, and a decision to keep what lies under it (S7)."""

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from tests.cli.operator import Operator
from tests.cli.test_orders import sign
from tests.people import COUNSEL, HEAD, TERMS, written_policy
from tests.people import submitted as handed_in
from vault.catalogue.law import time_marks
from vault.context import Vault
from vault.destruction.drafting import draft
from vault.destruction.moving import masters_in_use, renew_masters
from vault.home import open_vault
from vault.law.policy import Policy, Sunset
from vault.orders import Action
from vault.serving.fences import Node


def suspect_since(vault: Vault, at: datetime | None) -> None:
    with vault.catalogue.write() as tx:
        tx.execute(sa.update(time_marks).values(suspect_since=at, why=at and "Time jumped forward by 2 hours."))


def test_with_what_is_to_be_kept_the_key_gets_another_end(
    stranger: Operator, ministack: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    today = datetime.now(UTC).date()
    deadline = today + timedelta(days=90)
    kept = {"deadline": str(deadline), "until": str(deadline + timedelta(days=365))}
    sunset = Sunset(today - timedelta(days=1), today + timedelta(days=60), deadline, "DESTROY", {"program": True})
    settings = {"AWS_ACCESS_KEY_ID": "111122223333", "AWS_SECRET_ACCESS_KEY": "none", "AWS_CONFIG_FILE": os.devnull}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    operator = replace(stranger, environment=stranger.environment | settings)
    policy = written_policy(operator.folder, Policy(1, "America/New_York", sunset=sunset))
    founded = operator.run("init", "--custodian", f"awskms:us-east-1?endpoint={ministack}", *policy)
    assert founded.code == 0, founded.err

    def ends(vault: Vault) -> list[bool]:
        """Whether the active master ends with the deadline, and the held one."""
        assert all(one.expires_at is not None for one in masters_in_use(vault))
        return [one.expires_at.date() <= deadline + timedelta(days=2) for one in masters_in_use(vault)]  # type: ignore[union-attr]

    def bind(vault: Vault) -> None:
        """The decision is replaced, and the key ends with the deadline again."""
        suspect_since(vault, None)
        scope = {"deadline": str(deadline)}
        handed_in(vault, draft(vault, Action.DESTROY_AT_SUNSET, scope, TERMS), HEAD, COUNSEL)
        with Node(vault):
            renew_masters(vault, "test")
        assert ends(vault) == [True, False]

    # Decided at the command line.
    order = operator.folder / "decision.json"
    words = ("preserve", "--until", kept["until"], "--reason", "A suit.", "--legal-basis", "Act 1")
    order.write_text(operator.run("sunset", "decide", *words).out)
    submitted = operator.run("order", "submit", str(order), *sign(operator, order, HEAD, COUNSEL))
    assert (submitted.code, "it was replaced" in submitted.err) == (0, True), submitted
    assert "custodian renew" not in submitted.err
    with open_vault(operator.home) as vault:
        assert ends(vault) == [False, False]
        # As it comes over HTTP, while time is suspect: the sweep replaces the key before it refuses.
        bind(vault)
        handed_in(vault, draft(vault, Action.PRESERVE, kept, TERMS), HEAD, COUNSEL)
        suspect_since(vault, vault.clock.now())
    watched = operator.run("status", "--check")
    assert (watched.code, "the destroyer's next `shredvault sweep` replaces it" in watched.err) == (11, True), watched
    swept = operator.run("sweep")
    assert (swept.code, "it was replaced" in swept.err, "suspect" in swept.err) == (4, True, True), swept
    # And a hold on what is filed later.
    with open_vault(operator.home) as vault:
        assert ends(vault) == [False, False]
        bind(vault)
    held = operator.run("hold", "place", "--program", "--kind", "audit", "--authority", "A", "--docket", "1")
    assert (held.code, "it was replaced" in held.err) == (0, True), held
    with open_vault(operator.home) as vault:
        assert ends(vault) == [False, False]
