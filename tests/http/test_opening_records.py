"""Opening records: one record for one idempotency key, whatever arrives twice or at once."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.http.served import Site, assert_problem, head, key_of, record_of

BODY = {"applicant": {"given_name": "Ottoline", "family_name": "Vexley", "date_of_birth": "1988-02-29"}}
KIB_64 = 64 * 1024
CAPITALS = "7C9E6679-7425-40DE-944B-E07FC1F90AE7"
HEADERS = {"Idempotency-Key": "0b6c7c1e-5a56-4a53-9d0c-2f6b8a1f8d0e", "Content-Type": "application/json"}


def padded(size: int) -> bytes:
    """A valid request of exactly `size` bytes."""
    body = json.dumps(BODY).encode()
    return body + b" " * (size - len(body))


def test_a_record_is_opened(site: Site) -> None:
    before = site.counts()
    answer = site.post(body=BODY)
    assert answer.status_code == 201
    record = record_of(answer)
    assert answer.headers["location"] == f"/v1/records/{record}"
    assert "idempotent-replayed" not in answer.headers
    assert site.counts() == before._replace(records=before.records + 1)
    assert site.read(f"/v1/records/{record}").json()["applicant"] == BODY["applicant"]


def test_the_same_request_again_gets_the_same_answer(site: Site) -> None:
    first = site.post("replay", BODY)
    before = site.counts()
    again = site.post("replay", BODY)
    assert (again.status_code, again.headers["idempotent-replayed"]) == (200, "true")
    assert again.content == first.content
    assert site.counts() == before


def test_a_key_belongs_to_its_center(site: Site) -> None:
    mine, theirs = site.post("shared-key", BODY), site.post("shared-key", BODY, site.other_center)
    assert (mine.status_code, theirs.status_code) == (201, 201)
    assert record_of(mine) != record_of(theirs)


def test_another_body_under_the_key_is_refused(site: Site) -> None:
    first = site.post("one-body", BODY)
    before = site.counts()
    changed = {"applicant": BODY["applicant"] | {"given_name": "Somebody"}}
    assert_problem(site.post("one-body", changed), 409, "idempotency-conflict")
    assert site.counts() == before
    assert site.post("one-body", BODY).content == first.content


@pytest.mark.parametrize("bodies", ["same", "different"])
def test_one_key_at_once_makes_one_record(site: Site, bodies: str) -> None:
    before = site.counts()

    def post(number: int) -> tuple[int, str]:
        name = "Ann" if bodies == "same" else f"Ann {number}"
        answer = site.post(f"race-{bodies}", {"applicant": {"given_name": name, "family_name": "B"}})
        return answer.status_code, record_of(answer) if answer.status_code < 300 else ""

    with ThreadPoolExecutor(12) as threads:
        answers = list(threads.map(post, range(12)))
    statuses = sorted(status for status, _ in answers)
    assert statuses == ([200] * 11 + [201] if bodies == "same" else [201] + [409] * 11)
    assert len({record for _, record in answers if record}) == 1
    assert site.counts() == before._replace(records=before.records + 1)


@pytest.mark.parametrize("key", ["", "x" * 201, "case-2041", "Ottoline Vexley", "0b6c7c1e5a564a539d0c2f6b8a1f8d0e"])
def test_an_unusable_key_is_refused(site: Site, key: str) -> None:
    before = site.counts()
    answer = site.call("POST", "/v1/records", json=BODY, headers={"Idempotency-Key": key})
    assert_problem(answer, 400, "idempotency-key")
    assert site.counts() == before


def test_a_missing_key_and_one_outside_ascii_are_refused(site: Site) -> None:
    before = site.counts()
    assert_problem(site.call("POST", "/v1/records", json=BODY), 400, "idempotency-key")
    foreign = site.call("POST", "/v1/records", json=BODY, headers={"Idempotency-Key": "schlüssel".encode()})
    assert_problem(foreign, 400, "idempotency-key")
    assert site.counts() == before


def test_a_key_in_capitals_is_the_same_key(site: Site) -> None:
    first = site.call("POST", "/v1/records", json=BODY, headers={"Idempotency-Key": CAPITALS.lower()})
    again = site.call("POST", "/v1/records", json=BODY, headers={"Idempotency-Key": CAPITALS})
    assert (first.status_code, again.status_code) == (201, 200)
    assert record_of(first) == record_of(again)


def test_a_body_of_64_kib_is_accepted_and_one_byte_more_refused(site: Site) -> None:
    assert site.post(body=padded(KIB_64)).status_code == 201
    before = site.counts()
    assert_problem(site.post(body=padded(KIB_64 + 1)), 413, "body-too-large")
    assert site.counts() == before


def test_an_endless_body_is_refused_before_it_ends(site: Site) -> None:
    before = site.counts()
    with site.wire() as wire:
        wire.send(head("POST", "/v1/records", site.center, HEADERS | {"Transfer-Encoding": "chunked"}))
        for _ in range(5):
            wire.send_chunk(b" " * 16_384)
        status, _, _ = wire.answer()
    assert status == 413
    assert site.counts() == before


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'{"applicant": {}}',
        b'{"applicant": {"given_name": "A", "family_name": " "}}',
        b'{"applicant": {"given_name": "A", "family_name": "B", "date_of_birth": "1988-02-30"}}',
        b'{"applicant": {"given_name": "A", "family_name": "B"}, "extra": 1}',
        b'{"applicant": {"given_name": "A", "family_name": "B", "more": {"Not a name": "x"}}}',
        json.dumps({"applicant": {"given_name": "A" * 201, "family_name": "B"}}).encode(),
        json.dumps(
            {"applicant": {"given_name": "A", "family_name": "B", "more": {f"f{n}": "x" for n in range(41)}}}
        ).encode(),
        b'{"applicant": {"given_name": "\xff", "family_name": "B"}}',
        b'{"applicant": {"given_name": "\\ud800", "family_name": "B"}}',
        b"[" * 60_000,
    ],
)
def test_an_invalid_body_opens_nothing(site: Site, body: bytes) -> None:
    before = site.counts()
    assert_problem(site.post(body=body), 422, "invalid-fields")
    assert site.counts() == before


def test_a_body_cut_off_opens_nothing(site: Site) -> None:
    before = site.counts()
    body = json.dumps(BODY).encode()
    own = HEADERS | {"Idempotency-Key": key_of(None), "Content-Length": str(len(body))}
    with site.wire() as wire:
        wire.send(head("POST", "/v1/records", site.center, own))
        wire.send(body[:-1])
    with site.wire() as wire:
        wire.send(head("POST", "/v1/records", site.center, own))
        wire.send(body)
        assert wire.answer()[0] == 201
    assert site.counts() == before._replace(records=before.records + 1)
