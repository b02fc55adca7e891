"""A key service that ends a master key by itself, and a decision to keep what lies under it (S7)."""

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from tests.cli.operator import Operator
from tests.cli.test_orders import sign
from tests.people import COUNSEL, HEAD, written_policy
from vault.law.policy import Policy, Sunset


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

    order = operator.folder / "decision.json"
    words = (
        "preserve",
        "--until",
        str(deadline + timedelta(days=365)),
        "--reason",
        "A suit.",
        "--legal-basis",
        "Act 1",
    )
    order.write_text(operator.run("sunset", "decide", *words).out)
    submitted = operator.run("order", "submit", str(order), *sign(operator, order, HEAD, COUNSEL))

    assert submitted.code == 0, submitted.err
    assert "was to end with the deadline; it was replaced" in submitted.err
    assert "run `shredvault custodian renew`" not in submitted.err
    assert ends()["active"].date() > deadline + timedelta(days=2)
    assert ends()["held"] == before["held"]
