"""Orders over HTTP: handed in by whoever may, verified, and carried out by nobody here."""

from tests.http.served import Site, assert_problem
from tests.people import COUNSEL, HEAD, OFFICER, TERMS, signed
from vault.access import Role, create_token
from vault.destruction.carrying_out import carry_out
from vault.destruction.drafting import draft_destroy
from vault.destruction.frozen_lists import freeze_ordered


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
    assert site.call("GET", place, tokens[Role.AUDITOR]).json() == accepted.json()
    before = site.call("GET", "/v1/destructions", officer).json()["destructions"]

    done = carry_out(site.vault, freeze_ordered(site.vault, accepted.json()["order_id"]))

    assert site.call("GET", place, tokens[Role.COUNSEL]).json()["used_by"] == done.id
    *others, line = site.call("GET", "/v1/destructions", officer).json()["destructions"]
    assert others == before
    assert (line["destruction_id"], line["order_id"], line["condemned"]) == (done.id, accepted.json()["order_id"], 1)
