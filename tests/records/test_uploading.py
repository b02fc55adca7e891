"""Documents on their way in: limits, repetition, races, interruption, memory."""

import threading
from collections.abc import Callable
from random import Random

import pytest

from tests.vault.memory_s3 import MemoryBucket, refused
from tests.vault.world import PNG_END, PNG_HEAD, Record, World, png, upload
from vault.access import ForbiddenError, Role, authenticate, create_token
from vault.errors import (
    BadDocumentError,
    BusyError,
    DestroyedError,
    DocumentConflictError,
    DocumentTooLargeError,
    DocumentTruncatedError,
    EmptyDocumentError,
    NotFoundError,
    RecordClosedError,
    TooManyDocumentsError,
    UnsupportedTypeError,
)
from vault.objects import ObjectStoreUnavailable
from vault.records import uploads
from vault.records.documents import DOCUMENT_BYTES_MAX
from vault.records.uploads import DOCUMENTS_MAX, NAME_CHARACTERS_MAX, Filed, begin_upload
from vault.trees import keyring
from vault.trees.keyring import record_key

MEMORY_LIMIT = 8 * 1024 * 1024


def objects(world: World) -> list[str]:
    return list(world.vault.bucket.names("documents/"))


def begin(world: World, record: Record, name: str = "a.png", size: int | None = None) -> uploads.Upload:
    return begin_upload(world.vault, world.center, record.id, name, declared_size=size, declared_type=None)


@pytest.mark.parametrize("size", [20, 16_383, 16_384, 65_536, 1_000_000, 7 * 2**20, 7 * 2**20 + 1, DOCUMENT_BYTES_MAX])
def test_what_goes_in_comes_out(world: World, size: int) -> None:
    record = world.open()
    content = png(size)
    filed = world.upload(record, content=content)
    assert (filed.size, filed.media_type, filed.repeated) == (size, "image/png", False)
    assert world.fetch(record) == content
    assert list(world.vault.bucket.unfinished("")) == []


def test_the_same_bytes_twice_are_one_document(quick_world: World) -> None:
    record = quick_world.open()
    first = quick_world.upload(record)
    again = quick_world.upload(record, content=record.documents["card.png"])
    assert again.document_id == first.document_id
    assert again.repeated
    assert len(objects(quick_world)) == 1


def test_other_bytes_under_a_name_are_refused(quick_world: World) -> None:
    record = quick_world.open()
    quick_world.upload(record)
    content = record.documents["card.png"]
    with pytest.raises(DocumentConflictError):
        upload(quick_world.vault, quick_world.center, record.id, "card.png", png())
    assert quick_world.fetch(record) == content
    assert len(objects(quick_world)) == 1


def test_a_complete_record_takes_only_repetitions(quick_world: World) -> None:
    record = quick_world.file()
    content = record.documents["card.png"]
    assert upload(quick_world.vault, quick_world.center, record.id, "card.png", content).repeated
    with pytest.raises(RecordClosedError):
        upload(quick_world.vault, quick_world.center, record.id, "other.png", png())
    with pytest.raises(DocumentConflictError):
        upload(quick_world.vault, quick_world.center, record.id, "card.png", png())
    assert len(objects(quick_world)) == 1
    quick_world.assert_readable(record)


def test_completion_during_an_upload_leaves_it_out(quick_world: World) -> None:
    record = quick_world.open()
    quick_world.upload(record)
    sending = begin(quick_world, record, "late.png")
    sending.add(png())
    quick_world.complete(record)
    with pytest.raises(RecordClosedError):
        sending.finish()
    assert len(objects(quick_world)) == 1
    quick_world.assert_readable(record)


def test_the_33rd_document_is_refused(quick_world: World) -> None:
    record = quick_world.open()
    for number in range(DOCUMENTS_MAX):
        quick_world.upload(record, f"{number}.png")
    with pytest.raises(TooManyDocumentsError):
        upload(quick_world.vault, quick_world.center, record.id, "33", png())
    assert len(objects(quick_world)) == DOCUMENTS_MAX
    assert upload(quick_world.vault, quick_world.center, record.id, "0.png", record.documents["0.png"]).repeated


@pytest.mark.parametrize("name", ["", "x" * (NAME_CHARACTERS_MAX + 1), "a/b", "a\nb", "a\0", "\u202egnp", "\x7f"])
def test_names_that_cannot_be_used(quick_world: World, name: str) -> None:
    record = quick_world.open()
    with pytest.raises(BadDocumentError):
        begin(quick_world, record, name)
    assert not quick_world.vault.uses.records()


@pytest.mark.parametrize("name", ["x" * NAME_CHARACTERS_MAX, "Ausweis Rückseite.png", "护照", "..", "a b"])
def test_names_that_people_use(quick_world: World, name: str) -> None:
    record = quick_world.open()
    quick_world.upload(record, name)
    quick_world.assert_readable(record)


def test_who_may_upload(quick_world: World) -> None:
    record = quick_world.open()
    other = authenticate(quick_world.vault, create_token(quick_world.vault, Role.CENTER, "two"))
    with pytest.raises(NotFoundError):
        upload(quick_world.vault, other, record.id, "a", png())
    with pytest.raises(ForbiddenError):
        upload(quick_world.vault, quick_world.reviewer, record.id, "a", png())
    assert objects(quick_world) == []


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", EmptyDocumentError),
        (b"PK\x03\x04 a docx named pdf", UnsupportedTypeError),
        (b"\x89PN", UnsupportedTypeError),
        (PNG_HEAD + b"cut off", DocumentTruncatedError),
    ],
)
def test_bad_documents_leave_nothing(quick_world: World, content: bytes, error: type[BadDocumentError]) -> None:
    record = quick_world.open()
    with pytest.raises(error):
        upload(quick_world.vault, quick_world.center, record.id, "scan.pdf", content)
    assert objects(quick_world) == []
    assert quick_world.value("SELECT COUNT(*) FROM documents") == 0
    assert not quick_world.vault.uses.records()


def test_one_byte_too_many(quick_world: World) -> None:
    record = quick_world.open()
    with pytest.raises(DocumentTooLargeError):
        begin(quick_world, record, size=DOCUMENT_BYTES_MAX + 1)
    sending = begin(quick_world, record)
    chunk = PNG_HEAD + bytes(2**20 - 8)
    for _ in range(25):
        sending.add(chunk)
        if sending.part_is_full:
            sending.send_part()
    with pytest.raises(DocumentTooLargeError):
        sending.add(b"x")
    sending.abort()
    assert list(quick_world.vault.bucket.unfinished("")) == []
    assert objects(quick_world) == []


def test_a_declared_type_must_agree_with_the_bytes(quick_world: World) -> None:
    record = quick_world.open()
    for declared, fine in (
        ("image/png", True),
        ("IMAGE/PNG; charset=x", True),
        ("application/octet-stream", True),
        ("", True),
        ("application/pdf", False),
        ("text/html", False),
    ):
        vault, center = quick_world.vault, quick_world.center
        name = f"{declared.replace('/', '-')}!"
        sending = begin_upload(vault, center, record.id, name, declared_size=None, declared_type=declared)
        if fine:
            sending.add(png())
            sending.finish()
        else:
            with pytest.raises(BadDocumentError):
                sending.add(png())
            sending.abort()
    assert len(objects(quick_world)) == 4


def race(world: World, record: Record, contents: list[bytes]) -> list[Filed | Exception]:
    together = threading.Barrier(len(contents))
    answers: list[Filed | Exception] = []

    def run(content: bytes) -> None:
        sending = begin(world, record, "same.png")
        sending.add(content)
        together.wait()
        try:
            answers.append(sending.finish())
        except (DocumentConflictError, BusyError) as refusal:
            answers.append(refusal)

    threads = [threading.Thread(target=run, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def test_threads_with_the_same_bytes_file_one_document(quick_world: World) -> None:
    record = quick_world.open()
    answers = race(quick_world, record, [png(5000)] * 5)
    filed = [answer for answer in answers if isinstance(answer, Filed)]
    assert len(filed) == 5
    assert len({answer.document_id for answer in filed}) == 1
    assert [answer.repeated for answer in filed].count(False) == 1
    assert len(objects(quick_world)) == 1


def test_of_threads_with_other_bytes_one_wins(quick_world: World) -> None:
    record = quick_world.open()
    contents = [png(5000) for _ in range(4)]
    answers = race(quick_world, record, contents)
    assert sum(isinstance(answer, Filed) for answer in answers) == 1
    assert sum(isinstance(answer, DocumentConflictError) for answer in answers) == 3
    assert len(objects(quick_world)) == 1
    assert quick_world.fetch(record, "same.png") in contents


def test_condemnation_interrupts_an_upload(quick_world: World) -> None:
    record = quick_world.open()
    sending = begin(quick_world, record, size=20_000_000)
    sending.add(PNG_HEAD + bytes(60_000))
    quick_world.advance(hours=80)
    quick_world.sweep()
    assert quick_world.vault.uses.cut([record.id]) == 1
    with pytest.raises(DestroyedError):
        sending.add(bytes(60_000))
    sending.abort()
    assert objects(quick_world) == []


def test_an_upload_that_was_not_cut_is_refused_at_the_end(quick_world: World) -> None:
    record = quick_world.open()
    sending = begin(quick_world, record)
    sending.add(png())
    quick_world.advance(hours=80)
    quick_world.sweep()
    with pytest.raises(DestroyedError):
        sending.finish()
    assert objects(quick_world) == []
    assert quick_world.value("SELECT COUNT(*) FROM documents") == 0


def test_a_cut_without_condemnation_asks_to_try_again(quick_world: World) -> None:
    record = quick_world.open()
    sending = begin(quick_world, record)
    quick_world.vault.uses.cut([record.id])
    with pytest.raises(BusyError):
        sending.add(png())
    sending.abort()
    quick_world.upload(record)


@pytest.mark.parametrize("swept", [True, False])
def test_an_upload_that_is_overtaken_while_it_fetches_the_key(
    quick_world: World, monkeypatch: pytest.MonkeyPatch, *, swept: bool
) -> None:
    """Destroyed is destroyed, also when it happened between the look at the state and the key's use."""
    record = quick_world.open()
    quick_world.advance(hours=80)
    honest = record_key

    def late(*args: object) -> object:
        if swept:
            quick_world.sweep()
        else:
            quick_world.vault.uses.cut([record.id])
        return honest(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(keyring, "record_key", late)
    with pytest.raises(DestroyedError if swept else BusyError):
        begin(quick_world, record)
    assert not quick_world.vault.uses.records()


@pytest.mark.parametrize(
    "failing", ["put_object", "create_multipart_upload", "upload_part", "complete_multipart_upload"]
)
def test_a_store_that_fails_leaves_nothing_that_counts(quick_world: World, failing: str) -> None:
    record = quick_world.open()
    content = png(9_000_000 if failing != "put_object" else 9_000)
    bucket = quick_world.vault.bucket
    assert isinstance(bucket, MemoryBucket)

    def down(call: str, when: str) -> None:
        if (call, when) == (failing, "before"):
            raise refused("ServiceUnavailable", 503)

    bucket.s3.around = down
    with pytest.raises(ObjectStoreUnavailable):
        upload(quick_world.vault, quick_world.center, record.id, "card.png", content)
    bucket.s3.around = lambda _call, _when: None
    assert not quick_world.vault.uses.records()
    assert quick_world.value("SELECT COUNT(*) FROM documents") == 0
    assert list(bucket.unfinished("")) == []
    quick_world.upload(record, content=content)
    quick_world.assert_readable(record)


@pytest.mark.parametrize("chunk", [1000, 65_536, 2**20])
@pytest.mark.parametrize("declared", [True, False])
def test_an_upload_holds_at_most_8_mib(
    quick_world: World, monkeypatch: pytest.MonkeyPatch, chunk: int, *, declared: bool
) -> None:
    record = quick_world.open()
    random = Random(1).randbytes(chunk)
    size = DOCUMENT_BYTES_MAX if chunk > 1000 else 9 * 2**20
    sending = begin(quick_world, record, size=size if declared else None)
    held: list[int] = []

    def look() -> None:
        held.append(len(sending._out))

    sending.add(PNG_HEAD)
    left = size - len(PNG_HEAD) - len(PNG_END)
    while left:
        sending.add(random[: min(left, chunk)])
        left -= min(left, chunk)
        look()
        if sending.part_is_full:
            sending.send_part()
    sending.add(PNG_END)
    honest: Callable[[], None] = sending.send_part

    def send() -> None:
        look()
        honest()

    monkeypatch.setattr(sending, "send_part", send)
    filed = sending.finish()
    assert filed.size == size
    assert max(held) >= 7 * 2**20, "nothing was measured"
    # Longer chunks than 64 KiB, which no server sends, count on top.
    assert max(held) + min(chunk, 65_536) <= MEMORY_LIMIT + (chunk > 65_536) * 2**20
