"""Orders over HTTP: handed in by whoever may, verified, and carried out by nobody here."""

from collections.abc import Callable
from datetime import timedelta
from math import inf
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from api.http.metrics import Metrics
from keystore import Tree
from tests.http.served import Site, assert_problem
from tests.people import COUNSEL, HEAD, OFFICER, TERMS, signed
from tests.vault.holding import adopt
from vault.access import Role, create_token
from vault.alarms import alarms_of
from vault.catalogue import keys
from vault.catalogue.schema import masters
from vault.clocks.clock import civil_date
from vault.context import Vault
from vault.destruction.carrying_out import carry_out
from vault.destruction.drafting import draft, draft_destroy
from vault.destruction.frozen_lists import freeze_ordered
from vault.law.policy import Sunset
from vault.law.schedule import end_of
from vault.orders import Action

NEW_YORK = ZoneInfo("America/New_York")


def test_an_order_is_handed_in_and_followed_to_its_destruction(site: Site) -> None:
    tokens = {role: create_token(site.vault, role, role) for role in Role}
    body = draft_destroy(site.vault, [site.file()], TERMS).order.encode()
    signatures = [signed(name, body).decode() for name in (OFFICER, HEAD, COUNSEL)]
    whole: dict[str, object] = {"order": body.decode(), "signatures": signatures}
    for role in (Role.CENTER, Role.REVIEWER, Role.AUDITOR):
        assert_problem(site.call("POST", "/v1/orders", tokens[role], json=whole), 403, "role")
    officer = tokens[Role.RECORDS_OFFICER]
    short = site.call("POST", "/v1/orders", officer, json=whole | {"signatures": signatures[:2]})
    assert_problem(short, 422, "order-refused")
    assert "lacks" in short.json()["detail"]
    nonsense: tuple[object, ...] = (
        {"order": body.decode()},
        {"order": 1, "signatures": []},
        whole | {"signatures": signatures * 9},
        [],
    )
    for wrong in nonsense:
        assert_problem(site.call("POST", "/v1/orders", officer, json=wrong), 422, "invalid-fields")
    assert_problem(site.call("POST", "/v1/orders", officer, content=b"{}"), 415, "json-needed")

    accepted = site.call("POST", "/v1/orders", officer, json=whole)

    assert accepted.status_code == 201, accepted.text
    place = accepted.headers["location"]
    assert [one["person"] for one in accepted.json()["approvals"]] == [OFFICER, HEAD, COUNSEL]
    assert_problem(site.call("POST", "/v1/orders", officer, json=whole), 422, "order-refused")
    assert_problem(site.call("GET", place, tokens[Role.CENTER]), 403, "role")
    assert_problem(site.call("GET", f"{place}x", officer), 404, "not-found")
    assert site.call("GET", place, tokens[Role.AUDITOR]).json() | {"renewal_due": None} == accepted.json()
    before = site.call("GET", "/v1/destructions", officer).json()["destructions"]

    done = carry_out(site.vault, freeze_ordered(site.vault, accepted.json()["order_id"]))

    assert site.call("GET", place, tokens[Role.COUNSEL]).json()["used_by"] == done.id
    *others, line = site.call("GET", "/v1/destructions", officer).json()["destructions"]
    assert others == before
    assert (line["destruction_id"], line["order_id"], line["condemned"]) == (done.id, accepted.json()["order_id"], 1)


def test_a_decision_to_keep_says_at_once_that_a_master_key_must_be_replaced(new_site: Callable[..., Site]) -> None:
    """S7: nobody here may replace it; whoever hands in, and whoever watches, is told who must, and by when."""
    site = new_site()
    today = civil_date(site.vault.clock.now(), NEW_YORK)
    deadline = today + timedelta(days=9)
    sunset = Sunset(today - timedelta(days=1), today + timedelta(days=2), deadline, "DESTROY", {"program": True})
    adopt(site.vault, sunset=sunset)
    tokens = {role: create_token(site.vault, role, role) for role in (Role.COUNSEL, Role.RECORDS_OFFICER)}

    def hand_in() -> str | None:
        scope = {"deadline": deadline.isoformat(), "until": (deadline + timedelta(days=90)).isoformat()}
        body = draft(site.vault, Action.PRESERVE, scope, TERMS).encode()
        whole = {"order": body.decode(), "signatures": [signed(name, body).decode() for name in (HEAD, COUNSEL)]}
        accepted = site.call("POST", "/v1/orders", tokens[Role.RECORDS_OFFICER], json=whole)
        assert accepted.status_code == 201, accepted.text
        renewal: str | None = accepted.json()["renewal_due"]
        return renewal

    def hours_left() -> float:
        metrics = generate(site.vault)
        (line,) = (one for one in metrics.splitlines() if one.startswith("shredvault_master_renewal_hours_left "))
        return float(line.split()[1])

    assert (hand_in(), hours_left()) == (None, inf)
    # As a key service has it that can end masters.
    with site.vault.catalogue.write() as tx:
        root = keys.current_root(tx, Tree.ACTIVE)
        told = sa.update(masters).where(masters.c.name == root.master)
        tx.execute(told.values(ends_at=end_of(deadline, NEW_YORK)))
    renewal = hand_in()
    assert renewal is not None
    assert "the destroyer's next `shredvault sweep` replaces it" in renewal
    assert 8 * 24 < hours_left() <= 10 * 24
    case = {"kind": "audit", "authority": "A", "docket": "1", "program": True}
    placed = site.call("POST", "/v1/holds", tokens[Role.COUNSEL], json=case)
    assert (placed.status_code, placed.json()["renewal_due"]) == (201, renewal)


def generate(vault: Vault) -> str:
    metrics = Metrics()
    metrics.show(alarms_of(vault))
    return metrics.text().decode()
