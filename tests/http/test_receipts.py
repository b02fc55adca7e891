"""Receipts over HTTP: no token, no more than what the paper is for, and no guessing at scale."""

from collections.abc import Callable

import pytest

from api.http.limits import Limits
from api.http.problems import RefusedError
from api.http.receipts import TokenBucket
from tests.http.served import Sink, Site, assert_problem, record_of
from tests.vault.holding import place_hold
from vault.ids import RecordId, new_id
from vault.records.receipt_codes import code_of


def test_whoever_has_the_paper_is_told(site: Site, logs: Sink) -> None:
    since = logs.mark()
    opened = site.post()
    record, code = record_of(opened), opened.json()["receipt"]
    asked = f"/v1/receipts/{code}"
    assert site.client.get(asked).json() == {"state": "receiving"}
    site.put(record, b"%PDF-1.7\n%%EOF\n")
    assert site.complete(record).status_code == 200
    kept = site.client.get(asked)
    assert (kept.status_code, set(kept.json()), kept.json()["state"]) == (200, {"state", "until"}, "kept")
    place_hold(site.vault, [record], "16-cv-1")
    assert site.client.get(asked.upper().replace("/V1/RECEIPTS", "/v1/receipts")).content == kept.content
    # A token makes no difference, not even a wrong one.
    assert site.call("GET", asked, "svt_nothing").content == kept.content
    site.until_quiet()
    lines = [line for line in logs.lines(since) if line.get("route") == "/v1/receipts/{code}"]
    assert len(lines) == 4
    assert not any(code in str(line).lower() or "record_id" in line or "token_id" in line for line in lines)


def test_what_is_no_receipt_gets_one_answer(site: Site) -> None:
    code = code_of(RecordId(new_id()))
    mistyped = ("0" if code[0] != "0" else "1") + code[1:]
    answers = [site.client.get(f"/v1/receipts/{said}") for said in (code, mistyped, "x", "%00", "9" * 200, new_id())]
    for answer in answers:
        assert_problem(answer, 404, "not-found")
    assert len({str({**answer.json(), "request_id": ""}) for answer in answers}) == 1


def test_guesses_are_limited_and_nothing_else_is(new_site: Callable[..., Site]) -> None:
    site = new_site(limits=Limits(receipts_s=0.001, receipts_burst=3))
    code = site.post().json()["receipt"]
    for _ in range(3):
        assert site.client.get(f"/v1/receipts/{code}").status_code == 200
    for said in (code, "x"):
        refused = site.client.get(f"/v1/receipts/{said}")
        assert_problem(refused, 429, "too-many")
        assert int(refused.headers["retry-after"]) > 0
    site.file()


def test_a_bucket_fills_again() -> None:
    now = 0.0
    bucket = TokenBucket(2.0, 3, lambda: now)
    for pause, allowed in ((0.0, 3), (0.4, 0), (0.2, 1), (1.0, 2), (100.0, 3)):
        now += pause
        for _ in range(allowed):
            bucket.take()
        with pytest.raises(RefusedError):
            bucket.take()
