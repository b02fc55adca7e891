"""Nothing that was submitted comes back in a refusal or stands in a log."""

import json
from typing import Any

import pytest

from tests.http.served import Sink, Site, document, eventually, pdf

CANARY = "Zq7canary9XkAnna"
LOG_FIELDS = {
    *("time", "level", "event", "method", "route", "status", "duration_ms"),
    *("request_id", "token_id", "record_id", "logger", "problem", "error_class", "frames"),
}
ROUTES = {
    "none",
    "/v1/records",
    "/v1/records/{record_id}",
    "/v1/records/{record_id}/complete",
    "/v1/records/{record_id}/documents/{name:path}",
    "/metrics",
}


def applicant(**fields: Any) -> bytes:
    return json.dumps({"applicant": {"given_name": "A", "family_name": "B"} | fields}).encode()


def refusals(site: Site, record: str) -> dict[str, Any]:
    """Requests that are refused, or not found, each with the canary in another place."""
    put = {"Content-Type": "application/pdf"}
    return {
        "value": site.post(body=applicant(given_name=CANARY * 30)),
        "type": site.post(body=applicant(given_name=[CANARY])),
        "date": site.post(body=applicant(date_of_birth=CANARY)),
        "unknown field": site.post(body=applicant(**{CANARY: "x"})),
        "unknown field, deep": site.post(body=applicant(more={CANARY: "x"})),
        "value in more": site.post(body=applicant(more={"a": CANARY * 60})),
        "number": site.post(body=applicant(more={"a": {CANARY: 1}})),
        "no JSON": site.post(body=f'{{"{CANARY}": {CANARY}'.encode()),
        "top level": site.post(body=json.dumps({CANARY: CANARY}).encode()),
        "key": site.call("POST", "/v1/records", content=applicant(), headers={"Idempotency-Key": CANARY * 20}),
        "token": site.call("POST", "/v1/records", f"svt_{CANARY}", content=applicant()),
        "scheme": site.client.get(f"/v1/records/{record}", headers={"Authorization": f"{CANARY} {CANARY}"}),
        "purpose": site.read(f"/v1/records/{record}", CANARY),
        "record": site.read(f"/v1/records/{CANARY}"),
        "record of a put": site.put(CANARY, pdf()),
        "name too long": site.put(record, pdf(), CANARY * 10),
        "name unprintable": site.put(record, pdf(), f"{CANARY}\n.pdf"),
        "name not there": site.read(document(record, CANARY)),
        "conflict": site.put(record, pdf(), f"{CANARY}.pdf"),
        "declared type": site.put(record, pdf(), "new", headers={"Content-Type": f"image/{CANARY}"}),
        "content": site.put(record, CANARY.encode() * 100, "new", headers=put),
        "truncated": site.put(record, b"%PDF-1.7" + CANARY.encode() * 100, "new", headers=put),
        "path": site.client.get(f"/{CANARY}"),
        "path with a slash": site.client.get(f"/v1/records/{record}/documents/{CANARY}/", follow_redirects=False),
        "query": site.client.get(f"/v1/nothing?q={CANARY}"),
        "method": site.client.request(CANARY.upper(), "/v1/records"),
        "method of a document": site.client.request("DELETE", document(record, CANARY)),
        "header": site.client.get("/v1/nothing", headers={"X-Request-Id": CANARY, "Cookie": CANARY}),
    }


def requests_in(logs: Sink, mark: int) -> list[dict[str, Any]]:
    """Lines about requests to the API."""
    return [line for line in logs.lines(mark) if line.get("route", "").startswith("/v1/")]


def test_refusals_repeat_nothing(
    site: Site, logs: Sink, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    record = site.open()
    site.put(record, pdf(), f"{CANARY}.pdf")
    mark = logs.mark()
    answers = refusals(site, record)
    for place, answer in answers.items():
        assert 400 <= answer.status_code < 500, place
        assert answer.headers["content-type"] == "application/problem+json", place
        for said in (answer.text, str(answer.headers)):
            assert CANARY.lower() not in said.lower(), place
    # The file name did get in, and a reviewer sees it.
    assert CANARY in site.read(f"/v1/records/{record}").text
    site.until_quiet()
    logged = logs.text[mark:]
    assert len([line for line in logs.lines(mark) if line["event"] == "request"]) >= len(answers)
    for text in (logged, *capfd.readouterr(), caplog.text):
        assert CANARY.lower() not in text.lower()


def test_unexpected_errors_repeat_nothing(
    site: Site, logs: Sink, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A fault in our own code, whose exception carries what was submitted."""
    record = site.open()
    mark = logs.mark()

    def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError(CANARY)

    monkeypatch.setattr(type(site.vault.bucket), "put", fail)
    monkeypatch.setattr(type(site.vault.bucket), "open", fail)
    before = site.counts()
    answer = site.put(record, pdf(), CANARY)
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert site.counts() == before
    assert CANARY not in answer.text
    assert CANARY not in logs.text[mark:]
    assert any("RuntimeError" in json.dumps(line) for line in logs.lines(mark))
    out, err = capfd.readouterr()
    assert CANARY not in out + err
    monkeypatch.undo()
    assert site.put(record, pdf(), CANARY).status_code == 201


def test_log_lines_have_listed_fields_only(site: Site, logs: Sink) -> None:
    mark = logs.mark()
    record = site.file()
    refusals(site, record)
    site.fetch(record)
    lines = logs.lines(mark)
    assert len(lines) > 20
    for line in lines:
        assert set(line) <= LOG_FIELDS
        assert line.get("route", "none") in ROUTES


def test_a_log_line_names_the_caller(site: Site, logs: Sink) -> None:
    """The token's id and never the token; the record's id; the request's id, which the answer carries too."""
    record = site.file()
    mark = logs.mark()
    site.fetch(record)
    site.put(record, pdf(), "late.pdf")
    site.complete(record)
    eventually(lambda: len(requests_in(logs, mark)) == 3)
    read, put, completed = requests_in(logs, mark)
    assert read["token_id"] == site.reviewer.split("_")[1]
    assert put["token_id"] == completed["token_id"] == site.center.split("_")[1]
    assert len({line["request_id"] for line in (read, put, completed)}) == 3
    for token in (site.center, site.reviewer):
        assert token.split("_")[2] not in logs.text
