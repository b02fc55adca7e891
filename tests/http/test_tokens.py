"""Tokens: who is refused, with which words, and that roles keep apart."""

from collections.abc import Callable

import pytest

from tests.http.served import Site, assert_problem, document, pdf, record_of
from vault.access import Role, create_token, revoke_token


def _requests(site: Site, record: str, authorization: str | None) -> list[tuple[int, dict[str, str], dict[str, str]]]:
    """Every request that needs a token, with this header."""
    headers = {"Authorization": authorization} if authorization is not None else {}
    headers |= {
        "Purpose": "audit",
        "Idempotency-Key": "3f2504e0-4f89-41d3-9a0c-0305e82c3301",
        "Content-Type": "application/json",
    }
    answers = [
        site.client.post("/v1/records", json={"applicant": {"given_name": "A", "family_name": "B"}}, headers=headers),
        site.client.put(
            document(record, "n.pdf"), content=pdf(), headers=headers | {"Content-Type": "application/pdf"}
        ),
        site.client.post(f"/v1/records/{record}/complete", headers=headers),
        site.client.get(f"/v1/records/{record}", headers=headers),
        site.client.get(document(record, "scan.pdf"), headers=headers),
    ]
    return [(answer.status_code, dict(answer.headers), answer.json()) for answer in answers]


def _details(site: Site, record: str, authorization: str | None) -> str:
    """What somebody hears who is refused everywhere in the same words."""
    before = site.counts()
    answers = _requests(site, record, authorization)
    assert {status for status, _, _ in answers} == {401}
    assert all(headers["www-authenticate"].startswith("Bearer") for _, headers, _ in answers)
    assert all(headers["content-type"] == "application/problem+json" for _, headers, _ in answers)
    assert site.counts() == before
    (detail,) = {problem["detail"] for _, _, problem in answers}
    return detail


@pytest.fixture
def record(site: Site) -> str:
    record = site.open()
    site.put(record, pdf())
    return record


def changed(token: str, at: int) -> str:
    return token[:at] + ("0" if token[at] != "0" else "1") + token[at + 1 :]


def test_missing_mistyped_and_unknown_tokens_are_told_apart(
    site: Site, record: str, new_site: Callable[[], Site]
) -> None:
    token = create_token(site.vault, Role.CENTER, "revoked")
    revoke_token(site.vault, token.split("_")[1])
    missing = {_details(site, record, given) for given in (None, "", "Bearer", "Basic dTpw", site.center)}
    mistyped = {
        _details(site, record, f"Bearer {given}")
        for given in (
            changed(site.center, 10),
            changed(site.center, 60),
            changed(site.center, len(site.center) - 1),
            site.center[:-1],
            site.center + "0",
            site.center.upper(),
            "svt_",
            "x",
            "x" * 6000,
        )
    }
    unknown = {_details(site, record, f"Bearer {given}") for given in (new_site().center, token)}
    assert (len(missing), len(mistyped), len(unknown)) == (1, 1, 1)
    assert len(missing | mistyped | unknown) == 3


def test_the_scheme_is_not_case_sensitive(site: Site) -> None:
    assert site.client.put("/x", headers={"Authorization": f"bearer {site.center}"}).status_code == 404
    answer = site.client.get(
        f"/v1/records/{site.open()}", headers={"Authorization": f"BEARER {site.reviewer}", "Purpose": "audit"}
    )
    assert answer.status_code == 200


def test_another_secret_with_a_known_id_is_refused(site: Site, record: str) -> None:
    """The check digits are computed anew, so that only the hash of the secret stands in the way."""
    mine, other = site.center.split("_"), site.other_center.split("_")
    from vault.access import _check  # noqa: PLC0415

    body = f"svt_{mine[1]}_{other[2][:-4]}"
    assert "does not know it" in _details(site, record, f"Bearer {body}{_check(body)}")


def test_a_revoked_token_is_refused_at_once(site: Site) -> None:
    token = create_token(site.vault, Role.CENTER, "short-lived")
    record = record_of(site.post(token=token))
    assert site.put(record, pdf(), headers={"Authorization": f"Bearer {token}"}).status_code == 201
    revoke_token(site.vault, token.split("_")[1])
    before = site.counts()
    answer = site.put(record, pdf(), "two.pdf", headers={"Authorization": f"Bearer {token}"})
    assert_problem(answer, 401)
    assert site.counts() == before


def test_a_reviewer_files_nothing(site: Site, record: str) -> None:
    before = site.counts()
    answers = [
        site.post(token=site.reviewer),
        site.put(record, pdf(), "new.pdf", headers={"Authorization": f"Bearer {site.reviewer}"}),
        site.call("POST", f"/v1/records/{record}/complete", site.reviewer),
    ]
    for answer in answers:
        assert_problem(answer, 403)
    assert site.counts() == before
    assert site.read(f"/v1/records/{record}").json()["state"] == "receiving"


def test_another_centers_record_looks_like_none(site: Site, record: str) -> None:
    before = site.counts()
    headers = {"Authorization": f"Bearer {site.other_center}"}
    for wanted in (record, "0" * 26):
        assert_problem(site.put(wanted, pdf(), "new.pdf", headers=headers), 404)
        assert_problem(site.call("POST", f"/v1/records/{wanted}/complete", site.other_center), 404)
    theirs = site.call("POST", f"/v1/records/{record}/complete", site.other_center).json()
    nobodys = site.call("POST", f"/v1/records/{'0' * 26}/complete", site.other_center).json()
    assert theirs | {"request_id": ""} == nobodys | {"request_id": ""}
    assert site.counts() == before
    assert site.complete(record).status_code == 200
