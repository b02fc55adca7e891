"""What operators and programs see: health, metrics, headers, the description of the API, what is not there."""

from collections.abc import Callable
from typing import Any

import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings

from api.http.limits import Limits
from tests.http.served import Site, assert_problem, document, head, pdf
from vault.access import Role, create_token
from vault.ledger.publishing import bucket_objects

OPERATIONS = {
    ("/v1/records", "post"),
    ("/v1/records/{record_id}", "get"),
    ("/v1/records/{record_id}/complete", "post"),
    ("/v1/records/{record_id}/decided", "post"),
    ("/v1/records/{record_id}/documents/{name}", "get"),
    ("/v1/records/{record_id}/documents/{name}", "put"),
    ("/v1/holds", "get"),
    ("/v1/holds", "post"),
    ("/v1/holds/{hold_id}", "get"),
    ("/v1/holds/{hold_id}/extend", "post"),
    ("/v1/orders", "post"),
    ("/v1/orders/{order_id}", "get"),
    ("/v1/destructions", "get"),
    ("/v1/certificates/{certificate_id}", "get"),
    ("/v1/ledger/checkpoint", "get"),
    ("/v1/ledger/entries/{number}", "get"),
    ("/v1/ledger/proofs/consistency", "get"),
    ("/v1/ledger/proofs/inclusion", "get"),
    ("/v1/receipts/{code}", "get"),
    ("/healthz", "get"),
    ("/readyz", "get"),
    ("/metrics", "get"),
}
METHODS = {"get", "put", "post", "delete", "patch", "head", "options"}


def test_health_needs_no_token_and_tells_no_more(site: Site) -> None:
    assert site.client.get("/healthz").json() == {"status": "ok"}
    assert site.client.get("/readyz").json() == {
        "status": "ok",
        "checks": {"lease": "ok", "catalogue": "ok", "bucket": "ok"},
    }


def test_metrics_name_routes_and_no_records(site: Site) -> None:
    content = pdf()
    record = site.file(content)
    site.fetch(record)
    site.client.get(f"/v1/records/{record}/nowhere")
    site.client.request("BREW", "/v1/records")
    text = site.client.get("/metrics").text
    for said in (record, "scan.pdf", "nowhere", "BREW", site.center, site.center.split("_")[1]):
        assert said not in text
    labelled = [line for line in text.splitlines() if 'route="' in line and "_bucket" not in line]
    assert {line.split('route="')[1].split('"')[0].replace(":path", "") for line in labelled} <= {
        path for path, _ in OPERATIONS
    } | {"none", "/openapi.json"}
    before = count(text, "shredvault_http_requests_total", "PUT", "201")
    site.file()
    assert count(site.client.get("/metrics").text, "shredvault_http_requests_total", "PUT", "201") == before + 1


def test_metrics_tell_when_the_ledger_is_not_what_it_was(new_site: Callable[..., Site]) -> None:
    site = new_site(limits=Limits(ledger_every_s=0))
    site.file()
    assert count(site.client.get("/metrics").text, "shredvault_ledger_broken") == 0
    *_, (newest, blob) = bucket_objects(site.stored)
    site.stored.put(newest, blob[:-1])
    assert count(site.client.get("/metrics").text, "shredvault_ledger_broken") == 1
    site.stored.put(newest, blob)
    assert count(site.client.get("/metrics").text, "shredvault_ledger_broken") == 0


def count(text: str, *parts: str) -> float:
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    (line,) = [line for line in lines if all(part in line for part in parts)]
    return float(line.split()[-1])


def test_every_answer_has_the_security_headers(site: Site) -> None:
    record = site.file()
    answers = [
        site.client.get("/healthz"),
        site.client.get("/metrics"),
        site.client.get("/openapi.json"),
        site.client.get("/nowhere"),
        site.client.delete("/v1/records"),
        site.post(),
        site.post(body=b"{"),
        site.put(record, b"x"),
        site.read(f"/v1/records/{record}"),
        site.read(document(record, "scan.pdf")),
        site.read(f"/v1/records/{record}", None),
    ]
    seen = set()
    for answer in answers:
        headers = answer.headers
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["referrer-policy"] == "no-referrer"
        assert "server" not in headers
        assert "access-control-allow-origin" not in headers
        seen.add(headers["request-id"])
    assert len(seen) == len(answers)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/v1", 404),
        ("GET", "/docs", 404),
        ("GET", "/v2/records", 404),
        ("GET", "/v1/records/a/b", 404),
        ("GET", "/v1/records", 405),
        ("DELETE", "/v1/records/x", 405),
        ("PATCH", "/v1/records/x/documents/y", 405),
        ("POST", "/healthz", 405),
        ("TRACE", "/v1/records", 405),
    ],
)
def test_what_is_not_there_is_a_problem_too(site: Site, method: str, path: str, status: int) -> None:
    answer = site.client.request(method, path)
    assert_problem(answer, status)
    if status == 405:
        assert answer.headers["allow"]


@pytest.mark.parametrize(
    "data",
    [b"nonsense\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\0" * 100 + b"\r\n\r\n", b"GET / HTTP/1.1\r\nA" + b"b" * 70_000],
)
def test_what_is_not_http_is_refused_and_the_connection_ended(site: Site, data: bytes) -> None:
    with site.wire() as wire:
        wire.send(data)
        answer = wire.read_to_end()
    assert not answer or answer.startswith(b"HTTP/1.1 4")
    assert site.client.get("/healthz").status_code == 200


def test_http_1_0_is_answered(site: Site) -> None:
    with site.wire() as wire:
        wire.send(head("GET", "/healthz", None, {}).replace(b"HTTP/1.1", b"HTTP/1.0"))
        assert wire.read_to_end().startswith(b"HTTP/1.")


@pytest.fixture
def described(site: Site) -> dict[str, Any]:
    found: dict[str, Any] = site.client.get("/openapi.json").json()
    return found


def test_the_description_covers_every_operation(described: dict[str, Any]) -> None:
    assert described["openapi"].startswith("3.1")
    found = {(path, method) for path, item in described["paths"].items() for method in item if method in METHODS}
    assert found == OPERATIONS
    ids = [described["paths"][path][method]["operationId"] for path, method in found]
    assert len(set(ids)) == len(ids)


def test_every_operation_has_examples(described: dict[str, Any]) -> None:
    for path, method in OPERATIONS:
        operation = described["paths"][path][method]
        assert operation["summary"]
        assert {"200", "201"} & set(operation["responses"])
        for status, response in operation["responses"].items():
            for media_type, said in response.get("content", {}).items():
                if media_type.endswith("json"):
                    assert "example" in said or "examples" in said, (path, method, status)
        if path.startswith("/v1/"):
            # Who needs no token is told how often they may ask.
            needed = {"401", "403"} if "security" in operation else {"429"}
            assert needed | {"503"} <= set(operation["responses"])
            assert ("security" in operation) == (path != "/v1/receipts/{code}")


def test_the_description_is_valid_and_what_the_server_does(site: Site) -> None:
    schema = schemathesis.openapi.from_dict(site.client.get("/openapi.json").json())
    schema.validate()
    record = site.file()
    tried = 0
    for found in schema.get_all_operations():
        try_out(site, record, found.ok())  # type: ignore[union-attr]  # `validate` has found no error
        tried += 1
    assert tried == len(OPERATIONS)


def try_out(site: Site, record: str, operation: Any) -> None:
    """Send some requests that follow the description, and some that nearly do."""
    described = operation.definition.raw["responses"]

    @seed(1)
    @settings(
        max_examples=12,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def attempt(case: Any) -> None:
        token = site.reviewer if case.method == "GET" else site.center
        if "record" not in operation.path:
            token = create_token(site.vault, Role.RECORDS_OFFICER, "officer")
        if "record_id" in case.path_parameters:
            case.path_parameters["record_id"] = record
        answer = case.call(base_url=site.url, headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code < 500, (operation.label, answer.status_code)
        assert str(answer.status_code) in described, (operation.label, answer.status_code)
        if answer.status_code >= 400:
            assert answer.headers["content-type"] == ["application/problem+json"]

    attempt()


def test_answers_follow_the_described_schemas(site: Site, described: dict[str, Any]) -> None:
    opened = site.post()
    record = opened.json()["record_id"]
    filed = site.put(record, pdf())
    completed = site.complete(record)
    viewed = site.read(f"/v1/records/{record}")
    refused = site.read("/v1/records/x")
    for answer, path, method in (
        (opened, "/v1/records", "post"),
        (filed, "/v1/records/{record_id}/documents/{name}", "put"),
        (completed, "/v1/records/{record_id}/complete", "post"),
        (viewed, "/v1/records/{record_id}", "get"),
        (refused, "/v1/records/{record_id}", "get"),
    ):
        content = described["paths"][path][method]["responses"][str(answer.status_code)]["content"]
        said = content[answer.headers["content-type"]]
        examples = [said["example"]] if "example" in said else [e["value"] for e in said["examples"].values()]
        assert set(examples[0]) - {"destruction_id"} <= set(answer.json()) | {"errors"}
        if "schema" in said:
            jsonschema_rs.validator_for(described | said["schema"]).validate(answer.json())
