"""Opening and completing records."""

import json
from typing import Any

import pytest

from tests.api.house import APPLICANT, House, assert_problem, at_once, head, new_key, pdf


def test_a_repetition_gets_the_same_answer_and_opens_nothing(house: House) -> None:
    key = new_key()
    first = house.open(key)
    assert first.status_code == 201
    assert first.headers["location"] == f"/v1/records/{first.json()['record_id']}"
    before = house.counts()

    again = house.open(key)

    assert again.status_code == 200
    assert again.headers["idempotent-replayed"] == "true"
    assert again.json() == first.json()
    assert house.counts() == before


def test_the_same_key_with_another_body_is_a_conflict(house: House) -> None:
    key = new_key()
    assert house.open(key).status_code == 201
    before = house.counts()
    assert_problem(house.open(key, {"applicant": {"family_name": "Other"}}), 409, "idempotency-conflict")
    assert house.counts() == before


def test_keys_belong_to_the_token_that_chose_them(house: House) -> None:
    key = new_key()
    mine, theirs = house.open(key), house.open(key, token=house.other_center)
    assert (mine.status_code, theirs.status_code) == (201, 201)
    assert mine.json()["record_id"] != theirs.json()["record_id"]


def test_two_clerks_opening_the_same_record_at_once_open_one(house: House) -> None:
    key = new_key()
    answers = at_once(*[lambda: house.open(key)] * 4)
    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 201]
    assert len({answer.json()["record_id"] for answer in answers}) == 1


@pytest.mark.parametrize("key", ["", "x", "x" * 201, "a b", "é", f"{new_key()}0", "passport-of-ada", "0" * 32])
def test_unusable_idempotency_keys(house: House, key: str) -> None:
    before = house.counts()
    headers = {"Content-Type": "application/json", "Idempotency-Key": key.encode("latin-1")}
    answer = house.call("POST", "/v1/records", house.center, json=APPLICANT, headers=headers)
    assert_problem(answer, 400, "idempotency-key")
    assert_problem(house.call("POST", "/v1/records", house.center, json=APPLICANT), 400, "idempotency-key")
    assert house.counts() == before


def test_an_idempotency_key_is_the_same_in_either_case(house: House) -> None:
    key = new_key()
    first, again = house.open(key.lower()), house.open(key.upper())
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()


def test_a_body_at_the_limit_and_one_byte_over_it(house: House) -> None:
    text = json.dumps(APPLICANT).encode()
    assert house.open(body=text + b" " * (64 * 1024 - len(text))).status_code == 201
    before = house.counts()
    assert_problem(house.open(body=text + b" " * (64 * 1024 + 1 - len(text))), 413, "body-too-large")
    assert house.counts() == before


def test_an_endless_body_without_a_length_is_refused_in_the_middle(house: House) -> None:
    with house.wire() as wire:
        wire.send(
            head(
                "POST",
                "/v1/records",
                f"Authorization: Bearer {house.center}",
                f"Idempotency-Key: {new_key()}",
                "Content-Type: application/json",
                "Transfer-Encoding: chunked",
            )
        )
        for _ in range(5):
            wire.send(b"4000\r\n" + b" " * 0x4000 + b"\r\n")
        status, headers, _ = wire.answer()
        assert (status, headers["connection"]) == (413, "close")


def test_another_content_type_than_json(house: House) -> None:
    headers = {"Idempotency-Key": new_key(), "Content-Type": "text/plain"}
    answer = house.call("POST", "/v1/records", house.center, content=b"{}", headers=headers)
    assert_problem(answer, 415, "json-needed")


_LONG = "x" * 201


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", [("#", "json_invalid")]),
        (b"[" * 5000, [("#", "json_invalid")]),
        (b'{"applicant": {"family_name": "\xff"}}', [("#", "json_invalid")]),
        (b'{"applicant": {"family_name": "\\ud800"}}', [("#", "json_invalid")]),
        ([], [("#", "model_type")]),
        ({}, [("#/applicant", "missing")]),
        ({"applicant": None}, [("#/applicant", "model_type")]),
        ({"applicant": {}}, [("#/applicant/family_name", "missing")]),
        ({"applicant": {"family_name": " "}}, [("#/applicant/family_name", "string_too_short")]),
        ({"applicant": {"family_name": _LONG}}, [("#/applicant/family_name", "string_too_long")]),
        ({"applicant": {"family_name": 7}}, [("#/applicant/family_name", "string_type")]),
        ({"applicant": {"family_name": "a\x00b"}}, [("#/applicant/family_name", "not_printable")]),
        ({"applicant": {"family_name": "A", "date_of_birth": "1.2.90"}}, [("#/applicant/date_of_birth", None)]),
        ({"applicant": {"family_name": "A", "date_of_birth": 5}}, [("#/applicant/date_of_birth", "date_type")]),
        (
            {"applicant": {"family_name": "A", "date_of_birth": "1799-01-01"}},
            [("#/applicant/date_of_birth", "too_early")],
        ),
        (
            {"applicant": {"family_name": "A", "more": {"Canary": "x"}}},
            [("#/applicant/more", "string_pattern_mismatch")],
        ),
        ({"applicant": {"family_name": "A", "more": {"a": 1}}}, [("#/applicant/more", "string_type")]),
        ({"applicant": {"family_name": "A", "more": {"a": "x" * 501}}}, [("#/applicant/more", "string_too_long")]),
        (
            {"applicant": {"family_name": "A", "more": {f"a{n}": "x" for n in range(41)}}},
            [("#/applicant/more", "too_long")],
        ),
        ({"applicant": {"family_name": "A", "canary": 1}}, [("#/applicant", "extra_forbidden")]),
        ({"applicant": {"family_name": "A"}, "canary": 1}, [("#", "extra_forbidden")]),
    ],
)
def test_invalid_fields_are_named_by_path_and_rule(house: House, body: Any, expected: list[tuple[str, str]]) -> None:
    before = house.counts()
    problem = assert_problem(house.open(body=body), 422, "invalid-fields")
    assert [(e["pointer"], e["rule"] if expected[0][1] else None) for e in problem["errors"]] == expected
    assert all(e["detail"] for e in problem["errors"])
    assert house.counts() == before


def test_fields_come_back_to_a_reviewer(house: House) -> None:
    applicant = {"family_name": "Ñandú", "date_of_birth": "1988-02-29", "more": {"borough": "Queens"}}
    record = house.open(body={"applicant": applicant}).json()["record_id"]
    view = house.get(f"/v1/records/{record}")
    assert view.status_code == 200
    assert view.json()["applicant"] == applicant
    assert view.json()["state"] == "receiving"
    assert view.json()["due_on"] is None


def test_completing_counts_once(house: House) -> None:
    record = house.record()
    assert_problem(house.complete(record), 409, "record-without-document")
    assert house.put(record, pdf(500)).status_code == 201
    assert_problem(house.complete(record, house.other_center), 404, "not-found")
    assert_problem(house.complete(record, house.reviewer), 403, "role")
    first, again = house.complete(record), house.complete(record)
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json() == again.json()
    assert first.json()["documents"] == 1
    assert first.json()["due_on"] > first.json()["completed_at"]
    assert_problem(house.put(record, pdf(500), "late.pdf"), 409, "record-complete")
