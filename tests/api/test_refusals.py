"""Who may do what, what is said when a service is down, and that no refusal repeats what was submitted."""

import re
from collections.abc import Callable
from unittest.mock import PropertyMock, patch

import httpx2
import pytest

from tests.api.house import MIB, House, assert_problem, eventually, head, new_key, pdf, place, specimen
from tests.services.fault_proxy import Fault, FaultProxy
from vault.access import Role, create_token, list_tokens, revoke_token
from vault.catalogue import Catalogue
from vault.errors import CatalogueError, CatalogueFullError, CustodianUnavailableError
from vault.fences import Node
from vault.ids import new_id

ROUTES = [
    ("POST", "/v1/records"),
    ("PUT", f"/v1/records/{new_id()}/documents/x.pdf"),
    ("POST", f"/v1/records/{new_id()}/complete"),
    ("GET", f"/v1/records/{new_id()}"),
    ("GET", f"/v1/records/{new_id()}/documents/x.pdf"),
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_three_ways_to_have_no_valid_token(house: House, method: str, path: str) -> None:
    before = house.counts()
    good = house.center
    revoked = create_token(house.vault, Role.CENTER, "revoked")
    revoke_token(
        house.vault,
        next(line.id for line in list_tokens(house.vault) if line.label == "revoked" and not line.revoked_at),
    )
    other = "0" if good[20] != "0" else "1"
    cases = {
        "token-missing": (None, "", "Basic abc", "Bearer", f"Token {good}"),
        "token-mistyped": (
            "Bearer x",
            f"Bearer {good[:-1]}",
            f"Bearer {good}0",
            f"Bearer {good[:20]}{other}{good[21:]}",
            f"Bearer {good} {good}",
            "Bearer " + "x" * 5000,
        ),
        "token-unknown": (f"Bearer {revoked}",),
    }
    details = set()
    for slug, values in cases.items():
        for value in values:
            headers = {} if value is None else {"Authorization": value}
            answer = house.client.request(method, path, headers=headers)
            details.add(assert_problem(answer, 401, slug)["detail"])
            assert answer.headers["www-authenticate"] == "Bearer"
    assert len(details) == len(cases)
    assert house.counts() == before


@pytest.mark.parametrize("scheme", ["bearer", "BEARER"])
def test_the_scheme_is_read_in_any_case(house: House, scheme: str) -> None:
    headers = {"Authorization": f"{scheme} {house.reviewer}", "Purpose": "audit"}
    assert_problem(house.client.get(f"/v1/records/{new_id()}", headers=headers), 404, "not-found")


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_a_token_of_the_other_role(house: House, method: str, path: str) -> None:
    token = house.center if method == "GET" else house.reviewer
    before = house.counts()
    assert_problem(house.call(method, path, token, headers={"Purpose": "audit"}), 403, "role")
    assert house.counts() == before


def test_addresses_and_methods_that_are_not_offered(house: House) -> None:
    for path in ("/", "/v1", "/v1/records/", "/docs", "/redoc", "/v2/records", "//", "/v1/records/x/y"):
        assert_problem(house.client.get(path), 404, "no-such-place")
    for method, path in (("DELETE", "/v1/records"), ("GET", "/v1/records"), ("OPTIONS", "/healthz")):
        answer = house.client.request(method, path)
        assert_problem(answer, 405, "method")
        assert answer.headers["allow"]
        assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_without_a_lease_nothing_that_uses_keys_is_done(house: House, method: str, path: str) -> None:
    with patch.object(Node, "may_serve", new_callable=PropertyMock, return_value=False):
        assert_problem(house.call(method, path, house.center), 503, "not-serving")
        ready = house.client.get("/readyz")
        assert ready.status_code == 503
        assert ready.json()["checks"]["lease"] == "run out"
        assert house.client.get("/healthz").status_code == 200


def test_an_upload_ends_with_the_lease(house: House) -> None:
    record, content = house.record(), pdf(50_000)
    with house.wire() as wire:
        wire.send(house.put_head(record, "Content-Length: 50000") + content[:30_000])
        eventually(lambda: house.metric("shredvault_uploads_in_flight ") == 1)
        with patch.object(Node, "may_serve", new_callable=PropertyMock, return_value=False):
            wire.send(content[30_000:])
            assert wire.answer()[0] == 503
    assert house.documents_of(record) == 0


@pytest.mark.parametrize("fault", ["refused", "cut", "silent"])
def test_a_bucket_that_is_down(own_house: House, proxy: FaultProxy, fault: str) -> None:
    house = own_house
    record = house.filed(pdf(1000))
    open_record = house.record()
    if fault == "refused":
        proxy.refuse()
    else:
        proxy.set(Fault(cut_up_after=100) if fault == "cut" else Fault(blackhole=True))
    for answer in (
        house.put(open_record, pdf(1000)),
        house.put(open_record, pdf(8 * MIB)),
    ):
        assert "Nothing was stored; try again." in assert_problem(answer, 503, "storage")["detail"]
    assert "stored" not in assert_problem(house.get(place(record, "scan.pdf")), 503, "storage")["detail"]
    assert house.documents_of(open_record) == 0
    ready = house.client.get("/readyz")
    assert ready.status_code == 503
    assert ready.json()["checks"]["bucket"] == "ObjectStoreUnavailable"
    proxy.accept_again() if fault == "refused" else proxy.clear()
    assert house.put(open_record, pdf(1000)).status_code == 201
    assert house.client.get("/readyz").status_code == 200


@pytest.mark.parametrize(
    ("error", "status", "slug"),
    [
        (CatalogueError("canary-in-the-message"), 503, "catalogue"),
        (CatalogueFullError("canary-in-the-message"), 507, "catalogue-full"),
        (CustodianUnavailableError("canary-in-the-message"), 503, "custodian"),
        (RuntimeError("canary-in-the-message"), 500, "internal"),
    ],
)
def test_services_that_fail(house: House, error: Exception, status: int, slug: str) -> None:
    record = house.record()
    mark = len(house.log.getvalue())
    with patch.object(Catalogue, "read", side_effect=error):
        answer = house.put(record, pdf(100))
    assert_problem(answer, status, slug)
    if status != 500:
        assert "Nothing was stored; try again." in answer.json()["detail"]
    assert house.documents_of(record) == 0
    line = house.log.one(mark, status=status)
    assert line["error_class"] == type(error).__name__
    assert line["frames"][-1].startswith(("vault/", "api/"))
    assert line["level"] == "warning"
    assert "canary" not in answer.text + house.log.getvalue()[mark:]


CANARY = "Zanzibarnacle"


def _hostile(house: House) -> list[Callable[[], httpx2.Response]]:
    record = house.filed(pdf(1000))
    fresh = house.record()
    assert house.put(fresh, pdf(100), f"{CANARY}-taken.pdf").status_code == 201
    jpeg = specimen("passport-1.jpg")
    canary = CANARY
    key = new_key()
    assert house.open(key).status_code == 201
    closed = create_token(house.vault, Role.CENTER, "other")
    bodies = [
        {"applicant": {"family_name": canary * 30}},
        {"applicant": {"family_name": 7, "given_name": [canary]}},
        {"applicant": {"family_name": "A", canary: canary}},
        {"applicant": {"family_name": "A", "more": {canary: canary}}},
        {"applicant": {"family_name": "A", "more": {canary.lower(): 4}}},
        {"applicant": {"family_name": "A", "date_of_birth": canary}},
        {"applicant": canary, canary: canary},
        canary,
    ]

    def put(content: bytes, **more: object) -> Callable[[], httpx2.Response]:
        return lambda: house.put(fresh, content, f"{canary}.pdf", **more)

    bad_type = {"headers": {"Content-Type": f"image/{canary}"}}
    return [
        *(lambda body=body: house.open(new_key(), body) for body in bodies),
        lambda: house.open(new_key(), f'{{"applicant": "{canary}'.encode()),
        lambda: house.open(canary),
        lambda: house.open(f"{canary} {canary}"),
        lambda: house.open(key, {"applicant": {"family_name": canary}}),
        put(b"PK\x03\x04" + canary.encode() * 50),
        put(pdf(100), **bad_type),
        put(jpeg[:-5000] + canary.encode()),
        put(b""),
        lambda: house.put(fresh, pdf(101), f"{canary}-taken.pdf"),
        lambda: house.put(record, pdf(100), f"{canary}.pdf"),
        lambda: house.put(fresh, pdf(100), f"{canary}/x"),
        lambda: house.put(fresh, pdf(100), canary * 20),
        lambda: house.put(canary, pdf(100), canary),
        lambda: house.put(record, pdf(100), canary, token=closed),
        lambda: house.get(f"/v1/records/{canary}"),
        lambda: house.get(place(record, canary)),
        lambda: house.get(f"/v1/records/{record}", canary),
        lambda: house.complete(canary),
        lambda: house.client.get(f"/{canary}?{canary}={canary}", headers={canary: canary}),
        lambda: house.client.get(f"/v1/records/{record}/", headers={"Authorization": f"Bearer {canary}"}),
        lambda: house.client.request("DELETE", f"/v1/records/{canary}"),
        lambda: house.call("GET", f"/v1/records/{record}", f"svt_{canary}", headers={"Cookie": canary}),
    ]


def test_no_refusal_and_no_log_line_repeats_what_was_submitted(house: House) -> None:
    mark = len(house.log.getvalue())
    answers = [send() for send in _hostile(house)]
    for bad in (f"{CANARY} / HTTP/1.1", f"GET /{CANARY} HTTP/9.9", f"GET / HTTP/1.1\r\n{CANARY}\x01: {CANARY}"):
        with house.wire() as wire:
            wire.send(f"{bad}\r\n\r\n".encode())
            status, headers, body = wire.answer()
            assert status == 400
            assert headers["content-type"] == "application/problem+json"
            assert CANARY not in str(headers) + body.decode()
    everything = house.log.getvalue()[mark:] + house.client.get("/metrics").text
    for answer in answers:
        assert 400 <= answer.status_code < 500, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        everything += str(answer.headers) + answer.text
    assert not re.search(CANARY, everything, re.IGNORECASE)
    allowed = {"event", "level", "time", "method", "route", "status", "duration_ms", "request_id", "token_id"}
    allowed |= {"record_id", "error_class", "problem", "frames", "logger"}
    for line in house.log.since(mark):
        assert set(line) <= allowed


def test_a_head_that_is_too_long(house: House) -> None:
    for lines in ((f"X-Long: {'x' * 40_000}",), tuple(f"X-{n}: {'x' * 500}" for n in range(100))):
        with house.wire() as wire:
            wire.send(head("GET", "/healthz", *lines))
            assert wire.answer()[0] == 400
            assert wire.ended()
    with house.wire() as wire:
        wire.send(b"GET /healthz HTTP/1.1\r\nX: ")
        try:
            for _ in range(200):
                wire.send(b"x" * 1000)
            status, _, _ = wire.answer()
        except (ConnectionResetError, BrokenPipeError):
            status = 400
        assert status == 400


def test_bodies_with_two_lengths_are_refused(house: House) -> None:
    both = ("Content-Length: 5", "Transfer-Encoding: chunked")
    with house.wire() as wire:
        wire.send(house.put_head(house.record(), *both) + b"0\r\n\r\n")
        assert wire.answer()[0] == 400
