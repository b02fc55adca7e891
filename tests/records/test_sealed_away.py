"""Nothing personal stands in the clear anywhere: database, write-ahead log, bucket, their names and metadata."""

import base64
import gzip
import hashlib
import json
from collections.abc import Iterator

from tests.vault.holding import place_hold, release_hold
from tests.vault.memory_s3 import MemoryBucket
from tests.vault.world import PNG_END, PNG_HEAD, World, upload
from vault.destruction.reclaim import reclaim
from vault.objects import Bucket
from vault.records.retrieval import read_record

NAME, NUMBER, FILE = "Zsofia Canarybird-Quux", "A9917734455", "canary-passport-xyzzy.png"
CONTENT = PNG_HEAD + b"canary-of-the-content-" * 3000 + PNG_END
TYPE = "image/png"


def shapes(text: str) -> Iterator[bytes]:
    """The ways in which a text may hide in a file."""
    raw = text.encode()
    yield from (raw, raw.lower(), raw.upper(), text.encode("utf-16-le"), raw.hex().encode(), json.dumps(text).encode())
    for offset in range(3):
        coded = base64.b64encode(bytes(offset) + raw)
        yield coded[4:-4]
    yield gzip.compress(raw)[10:-8]


def stored(world: World) -> bytes:
    """Every byte at rest, with SQLite's write-ahead log as it is now, and every name and version in the bucket."""
    parts = [path.read_bytes() for path in sorted((world.folder / "home").rglob("*")) if path.is_file()]
    parts.append(world.catalogue_at_rest())
    bucket: Bucket = world.vault.bucket
    if isinstance(bucket, MemoryBucket):
        parts += [name.encode() + content for name, content in bucket.s3.ever]
    else:
        for version in bucket.versions(""):
            parts.append(version.name.encode())
            if not version.is_delete_marker:
                parts.append(bucket.get(version.name, limit=10**8))
    return b"\0".join(parts)


def found(haystack: bytes) -> list[str]:
    size = len(CONTENT)
    digest = hashlib.sha256(CONTENT).hexdigest()
    needles = (NAME, NUMBER, FILE, "canary-of-the-content-", TYPE, f'"size":{size}', digest)
    return [needle for needle in needles if any(shape in haystack for shape in shapes(needle))]


def live(world: World) -> None:
    record = world.open(name=NAME, number=NUMBER)
    world.upload(record, FILE, CONTENT)
    world.complete(record)
    world.assert_readable(record)
    hold = place_hold(world.vault, [record.id], "d").hold_id
    release_hold(world.vault, hold, "counsel")
    sending = world.open(name=NAME)
    upload(world.vault, world.center, sending.id, FILE, CONTENT)


def test_nothing_is_in_the_clear_on_the_real_store(world: World) -> None:
    live(world)
    everything = stored(world)
    assert all(record.id.encode() in everything for record in world.records), "the control finds what is there"
    assert b"documents/" in everything
    assert found(everything) == []


def test_nothing_is_in_the_clear_after_destruction_and_reclaiming(quick_world: World) -> None:
    live(quick_world)
    quick_world.advance(days=800)
    quick_world.sweep()
    reclaim(quick_world.vault)
    assert found(stored(quick_world)) == []


def test_the_search_finds_what_is_there(quick_world: World) -> None:
    """The positive control: each canary, put into database or bucket in any shape, is found."""
    live(quick_world)
    assert found(stored(quick_world)) == []
    for needle in (NAME, NUMBER, FILE, TYPE):
        for number, shape in enumerate(shapes(needle)):
            assert any(s in b"-" + shape + b"-" for s in shapes(needle)), number
    quick_world.run(
        "INSERT INTO journal (id, at, event, subject, facts, salt) "
        f"SELECT id + 1, at, '{NAME}', 's', facts, salt FROM journal ORDER BY id DESC LIMIT 1"
    )
    quick_world.vault.bucket.put("documents/x", base64.b64encode(b"zz" + FILE.encode() + b"zz"))
    assert set(found(stored(quick_world))) == {NAME, FILE}


def test_stored_sizes_are_padded(quick_world: World) -> None:
    sizes = set()
    for size in (100_400, 100_401, 101_000, 102_000):
        record = quick_world.open()
        quick_world.upload(record, content=PNG_HEAD + bytes(size - 16) + PNG_END)
        name = quick_world.value(f"SELECT object_name FROM documents WHERE record_id = '{record.id}'")
        sizes.add(quick_world.vault.bucket.size(name))
    assert len(sizes) == 1


def test_equal_people_and_documents_leave_no_equal_bytes(quick_world: World) -> None:
    for _ in range(2):
        record = quick_world.open(name=NAME)
        quick_world.upload(record, FILE, CONTENT)
        quick_world.complete(record)
    for column in ("sheet", "body_tag", "idempotency_hash"):
        assert quick_world.value(f"SELECT COUNT(DISTINCT {column}) FROM records") == 2
    for column in ("slip", "name_tag", "object_name"):
        assert quick_world.value(f"SELECT COUNT(DISTINCT {column}) FROM documents") == 2
    bucket = quick_world.vault.bucket
    assert isinstance(bucket, MemoryBucket)
    sealed = [content for name, content in bucket.s3.ever if name.startswith("documents/")]
    chunks = [content[at : at + 64] for content in sealed for at in range(0, len(content), 64)]
    assert len(set(chunks)) == len(chunks)


def test_nothing_personal_has_a_repr(quick_world: World) -> None:
    record = quick_world.open(name=NAME)
    quick_world.upload(record, FILE, CONTENT)
    view = read_record(quick_world.vault, quick_world.reviewer, record.id, "audit")
    assert found(repr(view).encode() + repr(view.documents).encode()) == []
