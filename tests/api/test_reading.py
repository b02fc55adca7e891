"""Documents on their way out: to reviewers, for a purpose, noted first, and never an altered one taken for whole."""

import http.client
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from tests.api.house import MIB, House, Wire, assert_problem, eventually, head, new_key, pdf, place
from vault.catalogue.schema import documents, reads
from vault.destruction import carry_out
from vault.frozen_lists import freeze
from vault.ids import new_id
from vault.retention import Cause
from vault.retrieval import DocumentReading, Purpose


def _object_of(house: House, record: str) -> str:
    with house.vault.catalogue.read() as tx:
        query = sa.select(documents.c.object_name).where(documents.c.record_id == record)
        return str(tx.execute(query).scalar_one())


def test_headers_of_a_document(house: House) -> None:
    record = house.filed(pdf(1000), 'a "b"; é.pdf')
    got = house.get(place(record, 'a "b"; é.pdf'))
    assert got.headers["content-length"] == "1000"
    assert got.headers["cache-control"] == "no-store"
    assert got.headers["x-content-type-options"] == "nosniff"
    expected = "attachment; filename=\"document.pdf\"; filename*=UTF-8''a%20%22b%22%3B%20%C3%A9.pdf"
    assert got.headers["content-disposition"] == expected


@pytest.mark.parametrize("purpose", [None, "", "curiosity", "audit, court-order"])
def test_without_a_purpose_of_the_list_nothing_is_read_or_noted(house: House, purpose: str | None) -> None:
    record = house.filed(pdf(1000))
    before = house.counts()
    for path in (f"/v1/records/{record}", place(record, "scan.pdf")):
        problem = assert_problem(house.get(path, purpose), 400, "purpose")
        assert problem["purposes"] == list(Purpose)
    assert house.counts() == before


def test_a_center_cannot_read_not_even_its_own(house: House) -> None:
    record = house.filed(pdf(1000))
    before = house.counts()
    for path in (f"/v1/records/{record}", place(record, "scan.pdf")):
        assert_problem(house.get(path, token=house.center), 403, "role")
    assert house.counts() == before


def test_what_is_not_there(house: House) -> None:
    before = house.counts()
    assert_problem(house.get(f"/v1/records/{new_id()}"), 404, "not-found")
    assert_problem(house.get(place(new_id(), "scan.pdf")), 404, "not-found")
    assert house.counts() == before
    assert_problem(house.get(place(house.filed(pdf(100)), "other.pdf")), 404, "not-found")


def test_a_read_is_on_record_before_the_first_byte_leaves(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    content = pdf(1000)
    record = house.filed(content)
    noted: list[int] = []
    whole = DocumentReading.chunks

    def watched(self: DocumentReading) -> Iterator[bytes]:
        with house.vault.catalogue.read() as tx:
            query = sa.select(sa.func.count()).select_from(reads).where(reads.c.record_id == record)
            noted.append(tx.execute(query).scalar_one())
        yield from whole(self)

    monkeypatch.setattr(DocumentReading, "chunks", watched)
    assert house.get(place(record, "scan.pdf"), "court-order").content == content
    assert noted == [1]


@pytest.mark.parametrize("size", [1000, 3 * MIB])
@pytest.mark.parametrize("attack", ["flip the last byte", "flip a byte in the middle", "cut the end off"])
def test_an_altered_document_is_never_taken_for_whole(house: House, size: int, attack: str) -> None:
    content = pdf(size)
    record = house.filed(content)
    assert house.get(place(record, "scan.pdf")).content == content
    name = _object_of(house, record)
    sealed = bytearray(house.vault.bucket.get(name, limit=8 * MIB))
    if attack == "cut the end off":
        del sealed[-40:]
    else:
        sealed[-1 if "last" in attack else len(sealed) // 2] ^= 1
    house.vault.bucket.put(name, sealed)
    mark = len(house.log.getvalue())

    with house.wire() as wire:
        whole, status = _read_raw(wire, house, record)

    assert not whole
    if status is not None:
        assert status == 500
    assert house.log.one(mark, record_id=record)["problem"] == "damaged"


def _read_raw(wire: Wire, house: House, record: str) -> tuple[bool, int | None]:
    """Whether a whole 200 came; else the status of the refusal, if one came."""
    wire.send(head("GET", place(record, "scan.pdf"), f"Authorization: Bearer {house.reviewer}", "Purpose: audit"))
    try:
        status, _, _ = wire.answer()
    except http.client.IncompleteRead:
        return False, None
    return status == 200, status


def test_a_document_whose_object_is_gone_is_an_incident(house: House) -> None:
    record = house.filed(pdf(1000))
    house.vault.bucket.delete_every_version([_object_of(house, record)])
    assert_problem(house.get(place(record, "scan.pdf")), 500, "damaged")


def test_a_destroyed_record_is_gone_for_everybody(own_house: House) -> None:
    house = own_house
    key = new_key()
    record = house.open(key).json()["record_id"]
    assert house.put(record, pdf(1000)).status_code == 201
    with house.wire() as wire:
        # An upload that is under way when its record dies.
        wire.send(house.put_head(record, "Content-Length: 100000", name="late.pdf") + pdf(100_000)[:50_000])
        eventually(lambda: house.metric("shredvault_uploads_in_flight ") == 1)
        assert house.complete(record).status_code == 200
        destruction = carry_out(house.vault, freeze(house.vault, Cause.SCRUB, "order 7")).id
        wire.send(pdf(50_005)[5:])
        assert wire.answer()[0] == 410
    for answer in (
        house.get(f"/v1/records/{record}"),
        house.get(place(record, "scan.pdf")),
        house.put(record, pdf(1000)),
        house.complete(record),
        house.open(key),
    ):
        assert assert_problem(answer, 410, "destroyed")["destruction_id"] == destruction


def test_uploads_live_through_a_destruction_of_others(own_house: House) -> None:
    house = own_house
    house.filed(pdf(1000))
    record = house.record()
    content = pdf(9 * MIB)
    with house.wire() as wire:
        wire.send(house.put_head(record, f"Content-Length: {len(content)}") + content[: 8 * MIB])
        eventually(lambda: house.metric("shredvault_uploads_in_flight ") == 1)
        assert carry_out(house.vault, freeze(house.vault, Cause.SCRUB, "order 7")).condemned == 1
        wire.send(content[8 * MIB :])
        assert wire.answer()[0] == 201
    assert house.get(place(record, "scan.pdf")).content == content
