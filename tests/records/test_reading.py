"""Reading: entitled, noted first, and never anything but what was filed."""

from collections.abc import Callable

import pytest
import sqlalchemy as sa

from keystore import SealBrokenError
from tests.vault.memory_s3 import MemoryBucket
from tests.vault.world import PURPOSE, Record, World, png
from vault.access import Caller, ForbiddenError
from vault.destruction.reclaim import reclaim
from vault.errors import BusyError, DamagedError, DestroyedError, NotFoundError, RuleBrokenError
from vault.ids import new_id
from vault.records.retrieval import PurposeError, read_document, read_record
from vault.trees import keyring
from vault.trees.keyring import record_key


def reads(world: World) -> int:
    return int(world.value("SELECT COUNT(*) FROM reads"))


def s3_of(world: World) -> MemoryBucket:
    bucket = world.vault.bucket
    assert isinstance(bucket, MemoryBucket)
    return bucket


def test_a_read_is_noted_before_the_first_byte(world: World) -> None:
    record = world.file()
    reading = read_document(world.vault, world.reviewer, record.id, "card.png", " Audit ")
    assert world.rows("SELECT token_id, record_id, whole_record, purpose FROM reads") == [
        (world.reviewer.token_id, record.id, 0, "audit")
    ]
    reading.close()
    read_record(world.vault, world.reviewer, record.id, PURPOSE)
    assert world.rows("SELECT whole_record, purpose FROM reads ORDER BY id") == [(0, "audit"), (1, PURPOSE)]


def test_no_key_is_touched_when_the_read_cannot_be_noted(quick_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    record = quick_world.file()
    quick_world.run(*quick_world.databases.broken("reads"))
    fetched: list[object] = []
    monkeypatch.setattr(keyring, "record_key", lambda *args: fetched.append(args))
    for read in (
        lambda: read_record(quick_world.vault, quick_world.reviewer, record.id, PURPOSE),
        lambda: read_document(quick_world.vault, quick_world.reviewer, record.id, "card.png", PURPOSE),
    ):
        with pytest.raises(RuleBrokenError):
            read()
    assert fetched == []


Read = Callable[[World, Caller, str, str | None], object]


def whole(world: World, caller: Caller, record_id: str, purpose: str | None) -> object:
    return read_record(world.vault, caller, record_id, purpose)


def one(world: World, caller: Caller, record_id: str, purpose: str | None) -> object:
    return read_document(world.vault, caller, record_id, "card.png", purpose)


@pytest.mark.parametrize("read", [whole, one])
def test_refused_reads_leave_no_note(quick_world: World, read: Read) -> None:
    record, dead = quick_world.file(), quick_world.open()
    quick_world.advance(hours=80)
    quick_world.sweep()
    with pytest.raises(ForbiddenError):
        read(quick_world, quick_world.center, record.id, PURPOSE)
    for purpose in (None, "", "curiosity", "Jane Doe's card"):
        with pytest.raises(PurposeError) as refusal:
            read(quick_world, quick_world.reviewer, record.id, purpose)
        assert "Jane" not in str(refusal.value)
    for unknown in (new_id(), "", "x" * 26, record.id + "\n", "' OR 1=1"):
        with pytest.raises(NotFoundError):
            read(quick_world, quick_world.reviewer, unknown, PURPOSE)
    with pytest.raises(DestroyedError):
        read(quick_world, quick_world.reviewer, dead.id, PURPOSE)
    assert reads(quick_world) == 0
    read(quick_world, quick_world.reviewer, record.id, PURPOSE)
    assert reads(quick_world) == 1


def test_a_name_that_is_not_there(quick_world: World) -> None:
    record = quick_world.file()
    with pytest.raises(NotFoundError) as refusal:
        quick_world.fetch(record, "Jane Doe.png")
    assert "Jane" not in str(refusal.value)
    assert not quick_world.vault.uses.records()


def test_a_missing_object_is_an_incident_not_a_destruction(world: World) -> None:
    record, other = world.file(), world.file()
    world.assert_readable(record)
    name = world.value(f"SELECT object_name FROM documents WHERE record_id = '{record.id}'")
    world.vault.bucket.delete_every_version([name])
    with pytest.raises(DamagedError):
        world.fetch(record)
    world.assert_readable(other)
    assert read_record(world.vault, world.reviewer, record.id, PURPOSE).state == "retained"


def test_a_missing_key_is_an_incident_not_a_destruction(quick_world: World) -> None:
    record = quick_world.file()
    quick_world.run("DELETE FROM tree_pages WHERE tree = 'active'")
    with pytest.raises(DamagedError):
        read_record(quick_world.vault, quick_world.reviewer, record.id, PURPOSE)
    assert not quick_world.vault.uses.records()


def change(world: World, record: Record, damage: Callable[[bytes], bytes]) -> None:
    s3 = s3_of(world).s3
    name = world.value(f"SELECT object_name FROM documents WHERE record_id = '{record.id}'")
    content = s3.current(name)
    assert content
    s3.versions[name] = [(version, damage(content), at) for version, _, at in s3.versions[name]]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "truncated by a byte": lambda c: c[:-1],
    "truncated by a chunk": lambda c: c[: -(16 * 1024 + 16)],
    "truncated to whole chunks": lambda c: c[: 56 + 3 * (16 * 1024 + 16)],
    "truncated to the salt": lambda c: c[:56],
    "empty": lambda c: c[:0],
    "first bit": lambda c: bytes([c[0] ^ 1]) + c[1:],
    "last bit": lambda c: c[:-1] + bytes([c[-1] ^ 1]),
    "middle bit": lambda c: c[:60_000] + bytes([c[60_000] ^ 1]) + c[60_001:],
    "a byte more": lambda c: c + b"\0",
    "chunks swapped": lambda c: c[:56] + c[56 + 16_400 : 56 + 32_800] + c[56 : 56 + 16_400] + c[56 + 32_800 :],
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_damage_is_noticed_and_nothing_false_comes_out(quick_world: World, damage: Callable[[bytes], bytes]) -> None:
    record = quick_world.open()
    content = png(100_000)
    quick_world.upload(record, content=content)
    assert quick_world.fetch(record) == content
    change(quick_world, record, damage)
    reading = read_document(quick_world.vault, quick_world.reviewer, record.id, "card.png", PURPOSE)
    came = bytearray()

    def take() -> None:
        for piece in reading.chunks():
            came.extend(piece)

    with pytest.raises(SealBrokenError):
        take()
    assert content.startswith(bytes(came))
    assert not quick_world.vault.uses.records()


@pytest.mark.parametrize("same_record", [True, False])
def test_swapped_objects_do_not_open(quick_world: World, *, same_record: bool) -> None:
    first = quick_world.open()
    second = first if same_record else quick_world.open()
    quick_world.upload(first, "one")
    quick_world.upload(second, "two")
    quick_world.assert_readable(first, second)
    (a, x), (b, y) = quick_world.rows("SELECT id, object_name FROM documents")
    quick_world.run(f"UPDATE documents SET object_name = 'parking' WHERE id = '{a}'")
    quick_world.run(f"UPDATE documents SET object_name = '{x}' WHERE id = '{b}'")
    quick_world.run(f"UPDATE documents SET object_name = '{y}' WHERE id = '{a}'")
    for record, name in ((first, "one"), (second, "two")):
        with pytest.raises(SealBrokenError):
            quick_world.fetch(record, name)


def test_swapped_sheets_and_slips_do_not_open(quick_world: World) -> None:
    first, second = quick_world.file(name="A"), quick_world.file(name="B")
    sheets = dict(quick_world.rows("SELECT id, sheet FROM records"))
    slips = dict(quick_world.rows("SELECT record_id, slip FROM documents"))
    with quick_world.vault.catalogue.write() as tx:
        for here, there in ((first, second), (second, first)):
            tx.execute(
                sa.text("UPDATE records SET sheet = :new WHERE id = :id"), {"new": sheets[there.id], "id": here.id}
            )
    for record in (first, second):
        with pytest.raises(SealBrokenError):
            read_record(quick_world.vault, quick_world.reviewer, record.id, PURPOSE)
    with quick_world.vault.catalogue.write() as tx:
        for here, there in ((first, second), (second, first)):
            tx.execute(
                sa.text("UPDATE records SET sheet = :new WHERE id = :id"), {"new": sheets[here.id], "id": here.id}
            )
            tx.execute(
                sa.text("UPDATE documents SET slip = :new WHERE record_id = :id"),
                {"new": slips[there.id], "id": here.id},
            )
    for record in (first, second):
        with pytest.raises(SealBrokenError):
            quick_world.fetch(record)


def test_swapped_name_tags_do_not_open(quick_world: World) -> None:
    record = quick_world.open()
    quick_world.upload(record, "one")
    quick_world.upload(record, "two")
    rows = quick_world.rows("SELECT id, slip FROM documents")
    with quick_world.vault.catalogue.write() as tx:
        for (here, _), (_, slip) in (rows, rows[::-1]):
            tx.execute(sa.text("UPDATE documents SET slip = :new WHERE id = :id"), {"new": slip, "id": here})
    with pytest.raises(SealBrokenError):
        quick_world.fetch(record, "one")


def test_condemnation_stops_a_reading(quick_world: World) -> None:
    record = quick_world.open()
    quick_world.upload(record, content=png(2_000_000))
    reading = read_document(quick_world.vault, quick_world.reviewer, record.id, "card.png", PURPOSE)
    pieces = reading.chunks()
    assert next(pieces)
    quick_world.advance(hours=80)
    quick_world.sweep()
    quick_world.vault.uses.cut([record.id])
    with pytest.raises(DestroyedError):
        next(pieces)
    assert not quick_world.vault.uses.records()


@pytest.mark.parametrize("read", [whole, one])
@pytest.mark.parametrize("swept", [True, False])
def test_a_reading_that_is_overtaken_while_it_fetches_the_key(
    quick_world: World, monkeypatch: pytest.MonkeyPatch, read: Read, *, swept: bool
) -> None:
    record = quick_world.file()
    quick_world.advance(days=800)
    honest = record_key

    def late(*args: object) -> object:
        if swept:
            quick_world.sweep()
        key = honest(*args)  # type: ignore[arg-type]
        quick_world.vault.uses.cut([record.id])
        return key

    monkeypatch.setattr(keyring, "record_key", late)
    with pytest.raises(DestroyedError if swept else BusyError):
        read(quick_world, quick_world.reviewer, record.id, PURPOSE)
    assert not quick_world.vault.uses.records()


def test_an_object_reclaimed_under_a_reader_is_a_destruction(
    quick_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = quick_world.file()
    quick_world.advance(days=800)
    s3 = s3_of(quick_world).s3
    turns: list[str] = []

    def late(call: str, when: str) -> None:
        if (call, when) == ("get_object", "before") and not turns:
            turns.append(call)
            quick_world.sweep()
            reclaim(quick_world.vault)

    s3.around = late
    with pytest.raises(DestroyedError):
        quick_world.fetch(record)
    assert turns


def test_a_reading_that_is_given_up_keeps_no_key(quick_world: World) -> None:
    record = quick_world.file()
    reading = read_document(quick_world.vault, quick_world.reviewer, record.id, "card.png", PURPOSE)
    assert quick_world.vault.uses.records() == {record.id}
    reading.close()
    reading.close()
    assert not quick_world.vault.uses.records()
    assert "card" not in repr(read_record(quick_world.vault, quick_world.reviewer, record.id, PURPOSE))
