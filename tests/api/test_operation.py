"""Health, metrics, the log's allow-list, the OpenAPI document, and limits on how much at once."""

import io
import json
import logging
import re
import threading
from typing import Any

import httpx2
import schemathesis
from fastapi.routing import APIRoute
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import SearchStrategy

from api.http import create_app
from api.http.limits import Limits
from api.http.logs import make_log, routed
from api.http.problems import PROBLEMS, RefusedError, kind_of
from api.http.server import background_server
from tests.api.house import House, assert_problem, eventually, pdf, place
from vault import access, errors, retrieval
from vault.errors import HomeError, KeystoreError, PolicyError, VaultError
from vault.objects import ObjectStoreError


def test_the_process_lives_and_is_ready(house: House) -> None:
    assert house.client.get("/healthz").json() == {"status": "ok"}
    ready = house.client.get("/readyz")
    assert ready.status_code == 200
    assert ready.json()["checks"] == {"lease": "ok", "catalogue": "ok", "bucket": "ok"}


def test_every_answer_has_the_security_headers(house: House) -> None:
    for path in ("/healthz", "/metrics", "/openapi.json", "/nowhere", "/v1/records/x"):
        headers = house.client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert headers["referrer-policy"] == "no-referrer"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "server" not in headers
        assert re.fullmatch(r"[0-9a-f]{16}", headers["request-id"])


def test_metrics_count_by_template(house: House) -> None:
    template = '{method="PUT",route="/v1/records/{record_id}/documents/{name:path}",status="201"}'
    counted = house.metric("shredvault_http_requests_total" + template)
    received = house.metric("shredvault_http_received_bytes_total")
    read = house.metric('shredvault_reads_total{kind="document"}')
    record = house.filed(pdf(70_000), "Secret Name.pdf")
    assert house.get(place(record, "Secret Name.pdf")).status_code == 200
    eventually(lambda: house.metric("shredvault_http_requests_total" + template) == counted + 1)
    assert house.metric("shredvault_http_received_bytes_total") >= received + 70_000
    eventually(lambda: house.metric('shredvault_reads_total{kind="document"}') == read + 1)
    text = house.client.get("/metrics").text
    assert record not in text
    assert "Secret" not in text


def test_a_log_line_keeps_listed_fields_only() -> None:
    out = io.StringIO()
    log = make_log(out)
    log.info("event", name="canary", path="canary", status=200, record_id=object(), exc_info=ValueError(1))
    with routed(log, "some.library"):
        try:
            raise ValueError("canary")  # noqa: TRY301
        except ValueError:
            logging.getLogger("some.library").exception("failed for %s", "canary")
        logging.getLogger("some.library").warning(ValueError("canary"))
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [set(line) for line in lines[:1]] == [{"event", "level", "time", "status"}]
    assert lines[1]["event"] == "failed for %s"
    assert lines[1]["error_class"] == "ValueError"
    assert lines[2]["event"] == "ValueError"
    assert "canary" not in out.getvalue()


def test_every_error_of_the_domain_has_a_row() -> None:
    def family(kind: type[Exception]) -> list[type[Exception]]:
        return [kind, *(leaf for child in kind.__subclasses__() for leaf in family(child))]

    elsewhere = {
        VaultError,
        PolicyError,
        HomeError,
        errors.DestructionRefusedError,
        KeystoreError,
        errors.KeyGraphError,
    }
    public = [getattr(module, name) for module in (errors, access, retrieval) for name in module.__all__]
    raised = {kind for kind in public if isinstance(kind, type) and issubclass(kind, Exception)} - elsewhere
    for kind in raised | set(family(ObjectStoreError)):
        assert any(parent in PROBLEMS for parent in kind.__mro__), kind
    slugs = [(kind.slug, kind.status) for kind in PROBLEMS.values()]
    assert {status for _, status in slugs} <= {400, 401, 403, 404, 409, 410, 413, 415, 422, 500, 503, 507}
    assert kind_of(KeyError()).status == 500
    assert kind_of(RefusedError(kind_of(KeyError()))).status == 500


def test_too_many_uploads_at_once_are_refused_at_once(house: House) -> None:
    limits = Limits(uploads=1, requests=3, linger_s=0.2)
    out = io.StringIO()
    record = house.record()
    with (
        background_server(house.vault, house.node, limits=limits, log=make_log(out)) as url,
        httpx2.Client(base_url=url, trust_env=False) as client,
    ):
        go_on = threading.Event()

        def slowly() -> object:
            yield b"%PDF-"
            go_on.wait(10)
            yield b"%%EOF"

        headers = {"Authorization": f"Bearer {house.center}"}
        first: list[int] = []
        path = place(record, "slow.pdf")
        thread = threading.Thread(
            target=lambda: first.append(client.put(path, content=slowly(), headers=headers).status_code)  # type: ignore[arg-type]
        )
        thread.start()
        eventually(lambda: "shredvault_uploads_in_flight 1.0" in client.get("/metrics").text)
        assert_problem(client.put(place(record, "other.pdf"), content=pdf(100), headers=headers), 503, "overloaded")
        go_on.set()
        thread.join()
        assert first == [201]
        assert client.put(place(record, "other.pdf"), content=pdf(100), headers=headers).status_code == 201


def test_a_server_ends_while_an_upload_is_under_way(house: House) -> None:
    record = house.record()
    with background_server(house.vault, house.node, limits=Limits(silence_s=1), log=make_log(io.StringIO())) as url:
        other = House(**{**house.__dict__, "url": url})
        wire = other.wire()
        wire.send(other.put_head(record, "Content-Length: 5000") + b"%PDF-")
    with wire:
        assert wire.answer()[0] == 408
    assert house.documents_of(record) == 0
    assert not house.vault.uses.records()


def test_openapi_describes_every_route_with_examples(house: House) -> None:
    document = house.client.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    app = create_app(house.vault, house.node)
    described = {(path, method) for path, item in document["paths"].items() for method in item}
    offered = {
        (re.sub(r":path\}", "}", route.path), method.lower())
        for route in app.routes
        if isinstance(route, APIRoute)
        for method in route.methods or ()
    }
    assert offered <= described
    assert len(described) == 8
    for path, item in document["paths"].items():
        for operation in item.values():
            assert operation["summary"]
            for status, answer in operation["responses"].items():
                assert status != "422" or "problem+json" in json.dumps(answer)
                for content in answer["content"].values():
                    assert content.get("example") or content["examples"], (path, status)
    references = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document)))
    assert references == set(document["components"]["schemas"])
    assert "HTTPValidationError" not in json.dumps(document)


def test_answers_keep_to_the_openapi_document(house: House) -> None:
    schema = schemathesis.openapi.from_dict(house.client.get("/openapi.json").json())
    seen: set[int] = set()
    operations: Any = schema.get_all_operations()
    for operation in operations:
        found = operation.ok()
        assert found is not None
        _try_out(found.as_strategy(), house, seen)
    assert {200, 404} <= seen
    assert 500 not in seen


def _try_out(strategy: SearchStrategy[Any], house: House, seen: set[int]) -> None:
    @given(case=strategy)
    @settings(
        max_examples=8,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def conforms(case: Any) -> None:
        token = house.reviewer if case.method.upper() == "GET" else house.center
        answer = case.call(base_url=house.url, headers={"Authorization": f"Bearer {token}"})
        seen.add(answer.status_code)
        assert answer.status_code != 500
        documented = {int(status) for status in case.operation.definition.raw["responses"]}
        assert answer.status_code in documented
        if answer.status_code >= 400 and "problem" in answer.headers["content-type"][0]:
            assert answer.json()["status"] == answer.status_code

    conforms()
