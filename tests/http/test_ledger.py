"""The ledger over HTTP: whoever keeps a checkpoint can check everything that comes after it."""

import json

import pytest

from tests.http.served import Site, assert_problem
from tests.independent.ledger import require_growth
from vault.log.merkle import check_inclusion, leaf_hash
from vault.log.notes import check_note


def test_an_outsider_checks_the_ledger(site: Site) -> None:
    signed = site.call("GET", "/v1/ledger/checkpoint", site.reviewer)
    assert signed.headers["content-type"].startswith("text/plain")
    checkpoint = check_note(signed.text, [site.vault.signing.verifier])
    leaf = site.call("GET", f"/v1/ledger/entries/{checkpoint.size}", site.reviewer)
    assert set(leaf.json()) == {"at", "commitment", "event", "id", "subject"}
    query = f"/v1/ledger/proofs/inclusion?leaf={checkpoint.size}&size={checkpoint.size}"
    proof = site.call("GET", query, site.reviewer).json()
    path = [bytes.fromhex(one) for one in proof["path"]]
    check_inclusion(leaf_hash(leaf.content), checkpoint.size - 1, checkpoint.size, path, checkpoint.root)
    first = leaf_hash(site.call("GET", "/v1/ledger/entries/1", site.reviewer).content)
    query = f"/v1/ledger/proofs/consistency?from=1&to={checkpoint.size}"
    grown = json.loads(site.call("GET", query, site.reviewer).content)
    path = [bytes.fromhex(one) for one in grown["path"]]
    require_growth(1, first, checkpoint.size, checkpoint.root, path)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("entries/0", 404),
        ("entries/999999", 404),
        ("entries/x", 404),
        ("entries/1/2", 404),
        ("proofs/inclusion?leaf=1", 422),
        ("proofs/inclusion?leaf=1&size=-1", 422),
        ("proofs/inclusion?leaf=1&leaf=1&size=1", 422),
        ("proofs/inclusion?leaf=1&size=999999", 404),
        ("proofs/inclusion?leaf=2&size=1", 404),
        ("proofs/consistency?from=0&to=1", 404),
        ("proofs/consistency?from=1&to=999999", 404),
        ("proofs/consistency?from=1&to=9999999999999999999", 422),
    ],
)
def test_what_is_not_there(site: Site, path: str, status: int) -> None:
    assert_problem(site.call("GET", f"/v1/ledger/{path}", site.reviewer), status)


def test_a_center_does_not_see_it(site: Site) -> None:
    for path in ("checkpoint", "entries/1", "proofs/inclusion?leaf=1&size=1", "proofs/consistency?from=1&to=1"):
        assert_problem(site.call("GET", f"/v1/ledger/{path}", site.center), 403)
        assert_problem(site.client.get(f"/v1/ledger/{path}"), 401)
