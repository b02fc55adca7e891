"""Reading: for a purpose, on record before the first byte, and nothing that is not authentic."""

import pytest

from tests.http.served import MIB, Counts, Site, assert_problem, document, eventually, pdf
from vault.records.retrieval import Purpose

SIZES = [500, 70_000, 300_000, 2 * MIB]


def one_read(before: Counts) -> Counts:
    return before._replace(reads=before.reads + 1)


@pytest.fixture
def record(site: Site) -> str:
    return site.file()


@pytest.mark.parametrize("purpose", [*Purpose, "Audit"])
def test_a_read_for_a_purpose_is_on_record(site: Site, record: str, purpose: str) -> None:
    before = site.counts()
    assert site.read(f"/v1/records/{record}", purpose).status_code == 200
    assert site.counts() == one_read(before)
    assert site.read(document(record, "scan.pdf"), purpose).status_code == 200
    whole, single = site.reads_of(record)
    assert (whole.whole_record, single.whole_record) == (True, False)
    assert whole.purpose == single.purpose == purpose.strip().lower()
    assert whole.token_id == site.reviewer.split("_")[1]


@pytest.mark.parametrize("purpose", [None, "", "because", "audit, court-order", "x" * 5000])
@pytest.mark.parametrize("what", ["record", "document"])
def test_without_a_purpose_nothing_is_read(site: Site, record: str, what: str, purpose: str | None) -> None:
    before = site.counts()
    path = f"/v1/records/{record}" if what == "record" else document(record, "scan.pdf")
    assert_problem(site.read(path, purpose), 400)
    assert site.counts() == before


@pytest.mark.parametrize("what", ["record", "document"])
def test_a_center_reads_nothing_not_even_what_it_filed(site: Site, record: str, what: str) -> None:
    before = site.counts()
    path = f"/v1/records/{record}" if what == "record" else document(record, "scan.pdf")
    assert_problem(site.read(path, token=site.center), 403)
    assert site.counts() == before


@pytest.mark.parametrize("wrong", ["0" * 26, "short", "%00", "0" * 25 + "u", "A" * 26, "x" * 3000])
def test_an_unknown_record_is_not_found(site: Site, wrong: str) -> None:
    before = site.counts()
    for path in (f"/v1/records/{wrong}", f"/v1/records/{wrong}/documents/scan.pdf"):
        assert_problem(site.read(path), 404)
    assert site.counts() == before


def test_asking_for_a_document_that_is_not_there_is_on_record_too(site: Site, record: str) -> None:
    """Which names a record has is known under its key only, and its key is used after the note was made."""
    before = site.counts()
    assert_problem(site.read(document(record, "other.pdf")), 404, "not-found")
    assert site.counts() == one_read(before)


@pytest.mark.parametrize("size", SIZES)
def test_a_document_comes_back_whole(site: Site, size: int) -> None:
    content = pdf(size)
    record = site.file(content)
    with site.wire() as wire:
        wire.send(site.get_head(document(record, "scan.pdf")))
        status, headers, body = wire.answer()
    assert (status, headers["content-length"], headers["content-type"]) == (200, str(size), "application/pdf")
    assert headers["content-disposition"].startswith("attachment;")
    assert body == content


def test_documents_of_a_record_that_still_receives_can_be_read(site: Site) -> None:
    record, content = site.open(), pdf()
    site.put(record, content)
    view = site.read(f"/v1/records/{record}").json()
    assert (view["state"], view["completed_at"], view["due_on"]) == ("receiving", None, None)
    assert site.fetch(record) == content


def test_two_readers_at_once_do_not_disturb_each_other(site: Site) -> None:
    contents = [pdf(2 * MIB), pdf(2 * MIB)]
    record = site.file(*contents)
    with site.wire() as first, site.wire() as second:
        first.send(site.get_head(document(record, "scan.pdf")))
        second.send(site.get_head(document(record, "scan-1.pdf")))
        assert second.answer()[2] == contents[1]
        assert first.answer()[2] == contents[0]


def test_a_reader_who_goes_away_frees_the_key(site: Site) -> None:
    record = site.file(pdf(20 * MIB))
    with site.wire() as wire:
        wire.send(site.get_head(document(record, "scan.pdf")))
        wire.socket.recv(1000)
        assert record in site.vault.uses.records()
    eventually(lambda: record not in site.vault.uses.records())


# --- what was altered in the bucket


def broken_answer(site: Site, record: str) -> tuple[bytes, bytes]:
    """Head and body, as far as they came, of an answer on a connection that the server ends."""
    with site.wire() as wire:
        wire.send(site.get_head(document(record, "scan.pdf"), Connection="close"))
        head, _, body = wire.read_to_end().partition(b"\r\n\r\n")
    return head, body


def assert_nothing_false(site: Site, record: str, content: bytes) -> None:
    before = site.counts()
    head, body = broken_answer(site, record)
    if head.startswith(b"HTTP/1.1 200 "):
        assert f"content-length: {len(content)}".encode() in head.lower()
        assert len(body) < len(content)
        assert content.startswith(body)
    else:
        assert head.startswith(b"HTTP/1.1 500 ")
        assert b"damaged" in body
    assert site.counts() == one_read(before)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("where", [0, 0.25, 0.5, 0.9, 1])
def test_an_altered_object_breaks_the_answer(site: Site, size: int, where: float) -> None:
    content = pdf(size)
    record = site.file(content)
    name = site.object_of(record)
    stored = bytearray(site.stored.get(name, limit=40 * MIB))
    good = bytes(stored)
    stored[min(int(len(stored) * where), len(stored) - 1)] ^= 1
    site.stored.put(name, stored)
    assert_nothing_false(site, record, content)
    # Positive control: put right again, it is read.
    site.stored.put(name, good)
    assert site.fetch(record) == content


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("left", ["nothing", "head", "half", "all but one", "one more", "chunk more"])
def test_an_object_of_another_length_breaks_the_answer(site: Site, size: int, left: str) -> None:
    content = pdf(size)
    record = site.file(content)
    name = site.object_of(record)
    stored = site.stored.get(name, limit=40 * MIB)
    changed = {
        "nothing": b"",
        "head": stored[:40],
        "half": stored[: len(stored) // 2],
        "all but one": stored[:-1],
        "one more": stored + b"\0",
        "chunk more": stored + stored[-20_000:],
    }[left]
    site.stored.put(name, changed)
    assert_nothing_false(site, record, content)


def test_a_document_in_the_place_of_another_is_not_delivered(site: Site) -> None:
    mine, other = pdf(60_000), pdf(60_000)
    record, another = site.file(mine), site.file(other)
    site.stored.put(site.object_of(record), site.stored.get(site.object_of(another), limit=MIB))
    assert_nothing_false(site, record, mine)
    assert site.fetch(another) == other


def test_a_missing_object_is_an_incident(site: Site, record: str) -> None:
    site.stored.delete_every_version([site.object_of(record)])
    answer = site.read(document(record, "scan.pdf"))
    assert_problem(answer, 500, "damaged")
    assert "destr" not in answer.json()["title"]
    assert len(site.reads_of(record)) == 1
