"""Filing documents: what is accepted, what is refused, and that a refusal leaves nothing behind."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from tests.http.served import LIMIT, MIB, PDF_HEAD, PURPOSE, SPECIMEN, Counts, Site, assert_problem, document, pdf

ENDS = {"application/pdf": 2100, "image/jpeg": 5000, "image/png": 5000}


def one_more(before: Counts, documents: int = 1) -> Counts:
    return before._replace(documents=before.documents + documents, objects=before.objects + documents)


@pytest.fixture
def record(site: Site) -> str:
    return site.open()


@pytest.mark.parametrize("media_type", SPECIMEN)
def test_a_scan_comes_back_as_it_was(site: Site, record: str, media_type: str) -> None:
    content = SPECIMEN[media_type].read_bytes()
    before = site.counts()
    answer = site.put(record, content, "scan", headers={"Content-Type": media_type})
    assert answer.status_code == 201
    assert (answer.json()["size"], answer.json()["media_type"]) == (len(content), media_type)
    assert site.counts() == one_more(before)
    got = site.read(document(record, "scan"))
    assert got.content == content
    assert (got.headers["content-length"], got.headers["content-type"]) == (str(len(content)), media_type)


def test_what_is_stored_has_nothing_of_the_plaintext(site: Site, record: str) -> None:
    content = SPECIMEN["image/jpeg"].read_bytes()
    assert site.put(record, content).status_code == 201
    stored = site.stored.get(site.object_of(record), limit=LIMIT)
    assert len(stored) > len(content)
    for start in (0, 1000, len(content) - 32):
        assert content[start : start + 32] not in stored


@pytest.mark.parametrize("declared", [True, False])
def test_an_empty_file_is_refused(site: Site, record: str, declared: bool) -> None:  # noqa: FBT001
    before = site.counts()
    assert_problem(site.put(record, b"" if declared else iter([b""])), 422, "document-empty")
    assert site.counts() == before


@pytest.mark.parametrize("size", [1, 5, 7, 8, 9, 20])
def test_a_stub_is_refused(site: Site, record: str, size: int) -> None:
    before = site.counts()
    answer = site.put(record, (PDF_HEAD + bytes(20))[:size])
    assert_problem(answer, 415 if size < 5 else 422, "document-type" if size < 5 else "document-truncated")
    assert site.counts() == before


@pytest.mark.parametrize("declared", [True, False])
def test_25_mib_are_accepted(site: Site, record: str, declared: bool) -> None:  # noqa: FBT001
    content = pdf(LIMIT)
    before = site.counts()
    answer = site.put(record, content if declared else pieces(content))
    assert answer.status_code == 201, answer.text
    assert answer.json()["size"] == LIMIT
    assert site.counts() == one_more(before)
    assert site.fetch(record) == content


def pieces(content: bytes, size: int = 100_000) -> Iterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


def test_one_byte_more_is_refused_before_the_body_is_asked_for(site: Site, record: str) -> None:
    before = site.counts()
    with site.wire() as wire:
        wire.send(site.put_head(record, Content_Length=str(LIMIT + 1)))
        status, headers, body = wire.answer()
    assert status == 413
    assert headers["content-type"] == "application/problem+json"
    assert b"document-too-large" in body
    assert site.counts() == before


def test_one_byte_more_without_a_declared_length_is_refused_in_mid_stream(site: Site, record: str) -> None:
    before = site.counts()
    block = bytes(MIB)
    with site.wire() as wire:
        wire.send(site.put_head(record, Transfer_Encoding="chunked"))
        wire.send_chunk(PDF_HEAD + bytes(MIB - len(PDF_HEAD)))
        for _ in range(24):
            wire.send_chunk(block)
        wire.send_chunk(b"x")
        # The body has not ended; the answer comes nevertheless.
        status, _, body = wire.answer()
    assert status == 413
    assert b"document-too-large" in body
    site.until_quiet()
    assert site.counts() == before
    assert site.put(record, pdf()).status_code == 201


@pytest.mark.parametrize("length", ["-1", "1e3", "9" * 13, "12 12"])
def test_a_length_that_is_no_number_is_refused(site: Site, record: str, length: str) -> None:
    before = site.counts()
    with site.wire() as wire:
        wire.send(site.put_head(record, Content_Length=length))
        status, _, _ = wire.answer()
    assert 400 <= status < 500
    assert site.counts() == before


def test_an_office_file_under_the_name_of_a_pdf_is_refused(site: Site, record: str) -> None:
    before = site.counts()
    answer = site.put(record, b"PK\3\4" + bytes(5000), "letter.pdf", headers={"Content-Type": "application/pdf"})
    assert_problem(answer, 415, "document-type")
    assert site.counts() == before


@pytest.mark.parametrize(
    "content",
    [
        b"<html><script>alert(1)</script></html>",
        b"GIF89a" + bytes(50),
        b"MZ" + bytes(50),
        b"\n%PDF-1.7\n%%EOF",
        bytes(50),
    ],
)
def test_other_types_are_refused(site: Site, record: str, content: bytes) -> None:
    before = site.counts()
    assert_problem(site.put(record, content), 415, "document-type")
    assert site.counts() == before


@pytest.mark.parametrize(
    ("declared", "accepted"),
    [
        ("application/pdf", True),
        ("Application/PDF; version=1.7", True),
        ("application/octet-stream", True),
        ("", True),
        ("image/png", False),
        ("text/plain", False),
    ],
)
def test_the_declared_type_must_agree(site: Site, record: str, declared: str, accepted: bool) -> None:  # noqa: FBT001
    before = site.counts()
    answer = site.put(record, pdf(), headers={"Content-Type": declared})
    if accepted:
        assert answer.status_code == 201
        assert site.counts() == one_more(before)
    else:
        assert_problem(answer, 415, "document-type-differs")
        assert site.counts() == before


@pytest.mark.parametrize("declared", ["multipart/form-data; boundary=x", "Application/x-www-form-urlencoded"])
def test_a_form_is_told_what_to_send_instead(site: Site, record: str, declared: str) -> None:
    before = site.counts()
    answer = site.put(record, pdf(), headers={"Content-Type": declared})
    assert_problem(answer, 415, "form-sent")
    assert "curl -T" in answer.json()["detail"]
    assert site.counts() == before


@pytest.mark.parametrize("media_type", ENDS)
def test_a_scan_without_its_end_is_refused(site: Site, record: str, media_type: str) -> None:
    content = SPECIMEN[media_type].read_bytes()
    before = site.counts()
    assert_problem(site.put(record, content[: -ENDS[media_type]]), 422, "document-truncated")
    assert site.counts() == before
    assert site.put(record, content).status_code == 201


def test_a_tiff_without_its_directory_is_refused(site: Site, record: str) -> None:
    content = SPECIMEN["image/tiff"].read_bytes()
    before = site.counts()
    assert_problem(site.put(record, content[: int.from_bytes(content[4:8], "little")]), 422, "document-truncated")
    assert site.counts() == before


def test_the_same_bytes_again_are_one_document(site: Site, record: str) -> None:
    content = pdf(9 * MIB)
    first = site.put(record, content)
    before = site.counts()
    again = site.put(record, content)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    assert site.counts() == before


def test_other_bytes_under_the_name_are_refused(site: Site, record: str) -> None:
    content = pdf()
    site.put(record, content)
    before = site.counts()
    assert_problem(site.put(record, pdf()), 409, "document-conflict")
    assert_problem(site.put(record, pdf(9 * MIB)), 409, "document-conflict")
    assert site.counts() == before
    assert site.fetch(record) == content


@pytest.mark.parametrize("size", [2_000, 8 * MIB])
def test_two_clerks_with_the_same_scan_file_one_document(site: Site, record: str, size: int) -> None:
    content = pdf(size)
    before = site.counts()
    answers = at_once([(site, record, content)] * 6)
    assert sorted(status for status, _ in answers) == [200] * 5 + [201]
    assert len({text for _, text in answers}) == 1
    assert site.counts() == one_more(before)
    assert site.fetch(record) == content


def test_of_two_clerks_with_different_scans_one_is_refused(site: Site, record: str) -> None:
    contents = [pdf(100_000), pdf(100_000)]
    before = site.counts()
    answers = at_once([(site, record, content) for content in contents])
    assert sorted(status for status, _ in answers) == [201, 409]
    assert site.counts() == one_more(before)
    assert site.fetch(record) == contents[[status for status, _ in answers].index(201)]


def at_once(puts: list[tuple[Site, str, bytes]]) -> list[tuple[int, str]]:
    start = Barrier(len(puts))

    def put(wanted: tuple[Site, str, bytes]) -> tuple[int, str]:
        site, record, content = wanted
        start.wait()
        answer = site.put(record, content)
        return answer.status_code, answer.text

    with ThreadPoolExecutor(len(puts)) as threads:
        return list(threads.map(put, puts))


def test_a_record_takes_32_documents(site: Site, record: str) -> None:
    contents = [pdf() for _ in range(32)]
    for number, content in enumerate(contents[:31]):
        assert site.put(record, content, f"{number}.pdf").status_code == 201
    before = site.counts()
    # Several at once for the last place: one gets it.
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda n: site.put(record, pdf(), f"last-{n}.pdf"), range(4)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
    assert site.counts() == one_more(before)
    before = site.counts()
    assert_problem(site.put(record, pdf(), "33.pdf"), 409, "too-many-documents")
    assert site.put(record, contents[0], "0.pdf").status_code == 200
    assert site.counts() == before


def test_completing_needs_a_document(site: Site, record: str) -> None:
    assert_problem(site.complete(record), 409, "record-without-document")
    assert site.value("SELECT completed_at FROM records WHERE id = :record", record=record) is None


def test_completing_twice_changes_nothing(site: Site, record: str) -> None:
    site.put(record, pdf())
    first, again = site.complete(record), site.complete(record)
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json() == again.json()
    assert first.json()["documents"] == 1


def test_completing_at_once_has_one_answer(site: Site, record: str) -> None:
    site.put(record, pdf())
    with ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(lambda _: site.complete(record), range(6)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1


def test_a_complete_record_takes_nothing_new(site: Site) -> None:
    content = pdf()
    record = site.file(content)
    before = site.counts()
    assert_problem(site.put(record, pdf(), "late.pdf"), 409, "record-complete")
    assert_problem(site.put(record, pdf()), 409, "document-conflict")
    assert site.put(record, content).status_code == 200
    assert site.counts() == before


def test_completing_while_documents_arrive_loses_none_that_was_acknowledged(site: Site) -> None:
    for _ in range(5):
        record = site.open()
        site.put(record, pdf(), "first.pdf")
        start = Barrier(5)

        def act(number: int, record: str = record, start: Barrier = start) -> int:
            start.wait()
            if not number:
                return site.complete(record).status_code
            return site.put(record, pdf(3000), f"{number}.pdf").status_code

        with ThreadPoolExecutor(5) as threads:
            completed, *filed = threads.map(act, range(5))
        assert set(filed) <= {201, 409}
        assert completed in (200, 503)
        done = site.complete(record).json()
        names = {line["name"] for line in site.read(f"/v1/records/{record}").json()["documents"]}
        assert names == {"first.pdf"} | {f"{n}.pdf" for n, status in enumerate(filed, 1) if status == 201}
        assert done["documents"] == len(names)


@pytest.mark.parametrize(
    "name",
    [
        "a",
        "x" * 120,
        "Geburtsurkunde Zoë Müller.pdf",
        "出生証明書.pdf",
        "%2F",
        "a..b",
        "a b&c=d?e#f;g\"'\\.pdf",
        "😀" * 120,
        "%00",
    ],
)
def test_odd_names_are_names(site: Site, record: str, name: str) -> None:
    content = pdf()
    answer = site.put(record, content, name)
    assert answer.status_code == 201, answer.text
    assert site.fetch(record, name) == content
    assert [line["name"] for line in site.read(f"/v1/records/{record}").json()["documents"]] == [name]


@pytest.mark.parametrize("name", ["x" * 121, "😀" * 121, "a\nb", "a\0b", "\x7f", "a\u202eb", "\u200b"])
def test_unusable_names_are_refused(site: Site, record: str, name: str) -> None:
    before = site.counts()
    # A line break is in no address that has a route.
    status, slug = (404, "no-such-place") if "\n" in name else (422, "document-name")
    assert_problem(site.put(record, pdf(), name), status, slug)
    assert site.counts() == before


@pytest.mark.parametrize("path", ["a%2Fb", "%2F", "..%2F..%2Fx", "a/b", ""])
def test_a_slash_in_a_name_reaches_no_other_route(site: Site, record: str, path: str) -> None:
    before = site.counts()
    with site.wire() as wire:
        wire.send(
            site.put_head(record, Content_Length="500").replace(b"/documents/scan.pdf", f"/documents/{path}".encode())
        )
        wire.send(pdf(500))
        status, _, _ = wire.answer()
    assert status in (404, 405, 422)
    assert site.counts() == before


def test_names_that_are_not_utf8_are_refused_or_read_back(site: Site, record: str) -> None:
    before = site.counts()
    with site.wire() as wire:
        wire.send(site.put_head(record, Content_Length="500").replace(b"scan.pdf", b"%ff%fe.pdf"))
        wire.send(pdf(500))
        status, _, _ = wire.answer()
    assert status in (201, 400, 422)
    if status == 201:
        view = site.call("GET", f"/v1/records/{record}", site.reviewer, headers={"Purpose": PURPOSE})
        assert site.fetch(record, view.json()["documents"][0]["name"])
    else:
        assert site.counts() == before
