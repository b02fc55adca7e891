"""Documents on their way in: what is accepted, what is refused, and that a refusal leaves nothing."""

import socket
import struct
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.api.house import MIB, House, assert_problem, at_once, chunk, eventually, pdf, place, specimen
from vault.ids import new_id

LIMIT = 25 * MIB
TYPES = {
    "lease-1.pdf": "application/pdf",
    "passport-1.jpg": "image/jpeg",
    "letter-1.png": "image/png",
    "utility-bill-1.tiff": "image/tiff",
}


@pytest.mark.parametrize("name", TYPES)
def test_each_type_comes_back_unchanged(house: House, name: str) -> None:
    content = specimen(name)
    record = house.record()
    put = house.put(record, content, name, headers={"Content-Type": TYPES[name]})
    assert put.status_code == 201
    assert {**put.json(), "document_id": ""} == {"document_id": "", "media_type": TYPES[name], "size": len(content)}
    got = house.get(place(record, name))
    assert got.content == content
    assert got.headers["content-type"] == TYPES[name]


@pytest.mark.parametrize("size", [11, 64 * 1024 - 1, 64 * 1024, 7 * MIB - 1, 7 * MIB + 1, 20 * MIB, LIMIT])
def test_sizes_declared_and_chunked(house: House, size: int) -> None:
    content, record = pdf(size), house.record()
    assert house.put(record, content, "declared.pdf").status_code == 201
    assert house.put(record, iter([content[:1000], content[1000:]]), "chunked.pdf").status_code == 201
    assert house.get(place(record, "declared.pdf")).content == content
    assert house.get(place(record, "chunked.pdf")).content == content


def test_the_same_bytes_again_are_one_document_and_others_a_conflict(house: House) -> None:
    content, record = pdf(1000), house.record()
    first, again = house.put(record, content), house.put(record, content)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    before = house.objects()
    assert_problem(house.put(record, pdf(1000)), 409, "document-conflict")
    assert house.documents_of(record) == 1
    assert house.objects() == before


def test_two_clerks_filing_the_same_document_at_once(house: House) -> None:
    content, record = pdf(50_000), house.record()
    answers = at_once(*[lambda: house.put(record, content)] * 4)
    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 201]
    assert len({answer.json()["document_id"] for answer in answers}) == 1
    assert house.documents_of(record) == 1


def test_two_clerks_filing_different_documents_under_one_name_at_once(house: House) -> None:
    record = house.record()
    answers = at_once(lambda: house.put(record, pdf(50_000)), lambda: house.put(record, pdf(50_000)))
    assert sorted(answer.status_code for answer in answers) == [201, 409]
    assert house.documents_of(record) == 1


@pytest.mark.parametrize(
    ("content", "media_type", "status", "slug"),
    [
        (b"", None, 422, "document-empty"),
        (b"PK\x03\x04" + b"\0" * 500, None, 415, "document-type"),
        (b"PK\x03\x04" + b"\0" * 500, "application/pdf", 415, "document-type"),
        (pdf(500), "image/jpeg", 415, "document-type-differs"),
        (specimen("passport-1.jpg")[:-5000], "image/jpeg", 422, "document-truncated"),
        (pdf(5000)[:-10], None, 422, "document-truncated"),
        (b"%PDF", None, 415, "document-type"),
    ],
    ids=["empty", "docx", "docx-as-pdf", "type-differs", "jpeg-truncated", "pdf-truncated", "four-bytes"],
)
def test_what_is_no_acceptable_document(
    house: House, content: bytes, media_type: str | None, status: int, slug: str
) -> None:
    record, before = house.record(), house.objects()
    headers = {"Content-Type": media_type} if media_type else {}
    assert_problem(house.put(record, content, "x.pdf", headers=headers), status, slug)
    assert_problem(house.put(record, iter([content]), "x.pdf", headers=headers), status, slug)
    assert house.documents_of(record) == 0
    assert house.objects() == before


@pytest.mark.parametrize("name", ["a/b.pdf", "x" * 121, "tab\t.pdf", "\u202e.pdf", ""])
def test_names_that_cannot_be_used(house: House, name: str) -> None:
    assert_problem(house.put(house.record(), pdf(100), name), 422, "document-name")


def test_a_name_that_is_not_utf8(house: House) -> None:
    record = house.record()
    path = f"/v1/records/{record}/documents/%ff%fe.pdf"
    assert_problem(house.call("PUT", path, house.center, content=pdf(100)), 422, "document-name")


@pytest.mark.parametrize("name", ["x" * 120, "Übergröße ✓.pdf", "a b'c\"d;e.pdf", "..", "%41.pdf"])
def test_unusual_names_come_back(house: House, name: str) -> None:
    content, record = pdf(100), house.record()
    if name == "..":
        # Clients resolve it away, so it is sent by hand.
        with house.wire() as wire:
            wire.send(house.put_head(record, "Content-Length: 100", name="..") + content)
            assert wire.answer()[0] == 201
        return
    assert house.put(record, content, name).status_code == 201
    assert house.get(place(record, name)).content == content
    assert house.get(f"/v1/records/{record}").json()["documents"][0]["name"] == name


def test_a_declared_size_over_the_limit_is_refused_before_a_byte_is_taken(house: House) -> None:
    record = house.record()
    with house.wire() as wire:
        wire.send(house.put_head(record, f"Content-Length: {LIMIT + 1}", "Expect: 100-continue"))
        status, headers, body = wire.answer()
        assert (status, headers["connection"]) == (413, "close")
        assert b"document-too-large" in body
        assert wire.ended()
    assert_problem(house.put(record, pdf(LIMIT + 1)), 413, "document-too-large")


def test_a_size_over_the_limit_that_nobody_declared_is_refused_on_the_way(house: House) -> None:
    record, before = house.record(), house.objects()
    content = pdf(LIMIT + 1)
    pieces = (content[start : start + MIB] for start in range(0, len(content), MIB))
    assert_problem(house.put(record, pieces), 413, "document-too-large")
    assert house.documents_of(record) == 0
    assert house.objects() == before


def test_continue_is_said_to_who_may_file_and_to_nobody_else(house: House) -> None:
    record, content = house.record(), pdf(5000)
    announced = ("Content-Length: 5000", "Expect: 100-continue")
    for token, expected in ((house.center[:-1] + "!", 401), (house.reviewer, 403), (house.other_center, 404)):
        with house.wire() as wire:
            wire.send(house.put_head(record, *announced, token=token))
            assert wire.answer()[0] == expected
            assert wire.ended()
    with house.wire() as wire:
        wire.send(house.put_head(record, *announced))
        assert wire.socket.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        wire.send(content)
        assert wire.answer()[0] == 201


def test_a_refusal_reaches_who_has_sent_everything_already(house: House) -> None:
    with house.wire() as wire:
        wire.send(house.put_head(house.record(), f"Content-Length: {8 * MIB}", token=house.reviewer) + pdf(8 * MIB))
        assert wire.answer()[0] == 403
        assert wire.ended()


@pytest.mark.parametrize("sent", [0, 1000, 10 * MIB])
@pytest.mark.parametrize("how", ["orderly", "reset"])
def test_a_body_shorter_than_its_length_counts_for_nothing(house: House, sent: int, how: str) -> None:
    record, before = house.record(), house.objects()
    aborted = house.metric("shredvault_uploads_aborted_total{")
    with house.wire() as wire:
        wire.send(house.put_head(record, f"Content-Length: {20 * MIB}") + pdf(20 * MIB)[:sent])
        if how == "reset":
            wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            wire.socket.shutdown(socket.SHUT_WR)
            assert wire.ended()
    eventually(lambda: house.metric("shredvault_uploads_aborted_total{") == aborted + 1)
    house.until_quiet()
    assert house.documents_of(record) == 0
    assert house.objects() == before


def test_a_chunked_body_that_breaks_off_counts_for_nothing(house: House) -> None:
    record, content = house.record(), pdf(5000)
    with house.wire() as wire:
        wire.send(house.put_head(record, "Transfer-Encoding: chunked") + chunk(content))
    eventually(lambda: house.metric("shredvault_uploads_in_flight ") == 0)
    assert house.documents_of(record) == 0


def test_who_sends_too_slowly_is_told_so(house: House) -> None:
    record = house.record()
    with house.wire() as wire:
        wire.send(house.put_head(record, "Content-Length: 5000") + b"%PDF-")
        status, headers, body = wire.answer()
        assert (status, headers["connection"]) == (408, "close")
        assert b"body-too-slow" in body
        assert wire.ended()
    assert house.documents_of(record) == 0


@pytest.mark.parametrize("length", ["-1", "1e3", "0x10", "1" * 30])
def test_lengths_that_are_no_numbers(house: House, length: str) -> None:
    with house.wire() as wire:
        wire.send(house.put_head(house.record(), f"Content-Length: {length}"))
        assert wire.answer()[0] == 400


def test_a_record_that_is_unknown_or_another_centers(house: House) -> None:
    record, before = house.record(), house.counts()
    assert_problem(house.put(new_id(), pdf(100)), 404, "not-found")
    assert_problem(house.put("nonsense", pdf(100)), 404, "not-found")
    assert_problem(house.put(record, pdf(100), token=house.other_center), 404, "not-found")
    assert_problem(house.put(record, pdf(100), token=house.reviewer), 403, "role")
    assert house.counts() == before


def test_the_thirty_third_document_is_refused(house: House) -> None:
    record = house.record()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: house.put(record, pdf(100), f"{n}.pdf").status_code, range(33)))
    assert sorted(answers) == [201] * 32 + [409]


def test_a_connection_serves_many_documents(house: House) -> None:
    record = house.record()
    with house.wire() as wire:
        for number in range(5):
            wire.send(house.put_head(record, "Content-Length: 40000", name=f"{number}.pdf") + pdf(40_000))
            assert wire.answer()[0] == 201
