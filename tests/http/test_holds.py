"""Holds over HTTP: counsel places and extends, others look, nobody reads by them, and sealed ones are nowhere."""

from typing import Any

from tests.http.served import Site, assert_problem
from vault.access import Role, create_token

ORDER = {"kind": "court-order", "authority": "Supreme Court", "docket": "80308/16"}


def bearer(site: Site, role: Role) -> dict[str, str]:
    return {"Authorization": f"Bearer {create_token(site.vault, role, role.value)}"}


def place(site: Site, who: dict[str, str], **body: Any) -> Any:
    return site.client.post("/v1/holds", json=ORDER | body, headers=who)


def test_counsel_places_a_hold_and_every_id_is_answered(site: Site) -> None:
    """H2, H7: one request, in force when it is answered; nothing that was submitted comes back."""
    counsel, record = bearer(site, Role.COUNSEL), site.file()
    placed = place(site, counsel, record_ids=[record, "nobody", record[::-1]], docket="a-1", review_on=None)
    assert placed.status_code == 201
    assert placed.json()["answers"] == ["held", "unknown", "unknown"]
    assert placed.json()["protects"] == 1
    hold = placed.json()["hold_id"]
    again = place(site, counsel, record_ids=[record], docket="a-1")
    assert (again.status_code, again.json()["hold_id"]) == (200, hold)
    nothing = place(site, counsel, record_ids=["nobody"], docket="a-2")
    assert (nothing.status_code, nothing.json()["hold_id"], nothing.json()["answers"]) == (404, None, ["unknown"])
    shown = site.client.get(f"/v1/holds/{hold}", headers=bearer(site, Role.AUDITOR)).json()
    assert (shown["docket"], shown["state"], shown["protects"], shown["records"]) == ("a-1", "in force", 1, 1)
    extended = site.client.post(f"/v1/holds/{hold}/extend", json={"review_on": shown["review_on"]}, headers=counsel)
    assert extended.status_code == 200
    assert_problem(site.client.post(f"/v1/holds/{hold}/extend", json={}, headers=counsel), 422, "hold")
    assert hold in {one["id"] for one in site.client.get("/v1/holds", headers=counsel).json()["holds"]}


def test_only_counsel_places_and_a_hold_lets_nobody_read(site: Site) -> None:
    """H2, H9."""
    record = site.file()
    for role in (Role.CENTER, Role.REVIEWER, Role.RECORDS_OFFICER, Role.AUDITOR):
        who = bearer(site, role)
        assert_problem(place(site, who, program=True), 403, "role")
        if role in (Role.CENTER, Role.REVIEWER):
            assert_problem(site.client.get("/v1/holds", headers=who), 403, "role")
    counsel = bearer(site, Role.COUNSEL)
    refused = site.client.get(f"/v1/records/{record}", headers=counsel | {"Purpose": "audit"})
    assert_problem(refused, 403, "role")
    assert_problem(site.client.post("/v1/records", json={}, headers=counsel), 403, "role")


def test_what_is_wrong_is_named_without_being_repeated(site: Site) -> None:
    counsel = bearer(site, Role.COUNSEL)
    wrong: tuple[tuple[dict[str, Any], int, str], ...] = (
        ({"docket": "People against Doe", "program": True}, 422, "hold"),
        ({"kind": "whim-canary", "program": True}, 422, "invalid-fields"),
        ({"canary": 1}, 422, "invalid-fields"),
        ({"program": True, "centers": ["x"]}, 422, "hold"),
        ({"centers": ["Atlantis"]}, 422, "hold"),
        ({"program": True, "sealed": True}, 422, "hold"),
        ({"program": True, "ordered_at": "2016-12-07T14:30:00"}, 422, "invalid-fields"),
    )
    for body, status, slug in wrong:
        answer = place(site, counsel, **body)
        assert_problem(answer, status, slug)
        assert "canary" not in answer.text
        assert "Doe" not in answer.text
    assert_problem(site.client.post("/v1/holds", content=b"{}", headers=counsel), 415, "json-needed")
    assert_problem(site.client.get("/v1/holds/x", headers=counsel), 404, "not-found")
