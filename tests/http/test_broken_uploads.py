"""Uploads that break: cut off, stalled, refused at the door. Nothing of them counts, and nothing stays."""

import time

import pytest

from tests.http.served import LIMIT, MIB, Site, document, eventually, head, pdf


@pytest.fixture
def record(site: Site) -> str:
    return site.open()


@pytest.mark.parametrize(("size", "sent"), [(5_000, 4_000), (300_000, 299_999), (9 * MIB, 8 * MIB), (LIMIT, LIMIT - 1)])
@pytest.mark.parametrize("ending", ["close", "half-close", "reset"])
def test_a_body_that_is_cut_off_leaves_nothing(site: Site, record: str, size: int, sent: int, ending: str) -> None:
    content = pdf(size)
    before = site.counts()
    with site.wire() as wire:
        wire.send(site.put_head(record, Content_Length=str(size)))
        wire.send(content[:sent])
        if ending == "half-close":
            wire.socket.shutdown(1)
            wire.read_to_end()
        if ending == "reset":
            wire.socket.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")  # SOL_SOCKET, SO_LINGER: RST instead of FIN
    eventually(lambda: site.uploads_in_flight() == 0)
    assert site.counts() == before
    assert site.put(record, content).status_code == 201
    assert site.fetch(record) == content


def test_a_chunked_body_that_is_cut_off_leaves_nothing(site: Site, record: str) -> None:
    content = pdf(9 * MIB)
    before = site.counts()
    with site.wire() as wire:
        wire.send(site.put_head(record, Transfer_Encoding="chunked"))
        wire.send_chunk(content)  # a whole document, and yet no end: it may have been longer
        eventually(lambda: site.counts().unfinished > before.unfinished)
    eventually(lambda: site.uploads_in_flight() == 0)
    assert site.counts() == before
    # Positive control: with its end the same body counts.
    with site.wire() as wire:
        wire.send(site.put_head(record, Transfer_Encoding="chunked"))
        wire.send_chunk(content)
        wire.send_chunk(b"")
        assert wire.answer()[0] == 201
    assert site.fetch(record) == content


def test_a_broken_chunk_leaves_nothing(site: Site, record: str) -> None:
    before = site.counts()
    with site.wire() as wire:
        wire.send(site.put_head(record, Transfer_Encoding="chunked"))
        wire.send_chunk(pdf(5_000))
        wire.send(b"not a length\r\n")
        wire.read_to_end()
    site.until_quiet()
    assert site.counts() == before
    assert site.put(record, pdf()).status_code == 201


def test_length_and_chunks_together_smuggle_nothing(site: Site, record: str) -> None:
    before = site.counts()
    hidden = head("POST", f"/v1/records/{record}/complete", site.center, {"Content-Length": "0"})
    with site.wire() as wire:
        wire.send(site.put_head(record, Content_Length="4", Transfer_Encoding="chunked"))
        wire.send(b"0\r\n\r\n" + hidden)
        answer = wire.read_to_end()
    assert answer.startswith(b"HTTP/1.1 4")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert site.counts() == before


def test_a_stalled_body_hinders_nobody(site: Site, record: str) -> None:
    content = pdf(400_000)
    before = site.counts()
    stalled = [site.wire() for _ in range(60)]
    try:
        for number, wire in enumerate(stalled):
            wire.send(site.put_head(record, f"stalled-{number}.pdf", Content_Length=str(len(content))))
            wire.send(content[:1000])
        eventually(lambda: site.uploads_in_flight() == len(stalled))
        assert site.counts() == before
        assert site.put(record, content, "quick.pdf").status_code == 201
        # One of them goes on after all.
        stalled[0].send(content[1000:])
        assert stalled[0].answer()[0] == 201
    finally:
        for wire in stalled:
            wire.socket.close()
    site.until_quiet()
    assert site.counts() == before._replace(documents=before.documents + 2, objects=before.objects + 2)
    assert site.fetch(record, "stalled-0.pdf") == content


@pytest.mark.parametrize(
    ("token", "status"), [(None, b"401"), ("svt_wrong", b"401"), ("reviewer", b"403"), ("other", b"404")]
)
def test_nobody_is_asked_for_a_body_that_will_not_be_taken(
    site: Site, record: str, token: str | None, status: bytes
) -> None:
    known = {"reviewer": site.reviewer, "other": site.other_center}
    before = site.counts()
    with site.wire() as wire:
        given = known.get(token or "", token)
        wire.send(head("PUT", document(record, "x.pdf"), given, {"Content-Length": "5000", "Expect": "100-continue"}))
        answer = wire.socket.recv(65_536)
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert b"100 Continue" not in answer
    assert site.counts() == before


def test_who_is_admitted_is_asked_for_the_body(site: Site, record: str) -> None:
    content = pdf(5000)
    with site.wire() as wire:
        wire.send(site.put_head(record, Content_Length="5000", Expect="100-continue"))
        asked = b""
        while not asked.endswith(b"\r\n\r\n"):
            asked += wire.socket.recv(1024)
        assert asked.startswith(b"HTTP/1.1 100 ")
        wire.send(content)
        assert wire.answer()[0] == 201
    assert site.fetch(record) == content


def test_a_slow_sender_is_waited_for(site: Site, record: str) -> None:
    content = pdf(600)
    with site.wire() as wire:
        wire.send(site.put_head(record, Content_Length="600"))
        for start in range(0, 600, 60):
            wire.send(content[start : start + 60])
            time.sleep(0.02)
        assert wire.answer()[0] == 201
    assert site.fetch(record) == content


def test_of_two_requests_on_one_connection_both_are_answered(site: Site, record: str) -> None:
    first, second = pdf(2000), pdf(3000)
    with site.wire() as wire:
        wire.send(site.put_head(record, "a.pdf", Content_Length="2000") + first)
        assert wire.answer()[0] == 201
        wire.send(site.put_head(record, "b.pdf", Content_Length="3000") + second)
        assert wire.answer()[0] == 201
    assert (site.fetch(record, "a.pdf"), site.fetch(record, "b.pdf")) == (first, second)
