"""Key pages: what is kept, what is gone, and whose place a page can take."""

import copy
import hashlib
import pickle
import struct
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keystore import (
    CHUNK_BYTES,
    COHORT_SLOTS,
    EVERY_SLOT,
    KEY_BYTES,
    Key,
    KeyPage,
    Opener,
    PageName,
    SealBrokenError,
    Sealer,
    Tree,
    WrongOrderError,
    seal,
    sealed_size,
    slots_of,
    slots_to_bitmap,
)
from keystore.page import MAX_COHORTS
from tests.keystore.trees import raw

VAULT = bytes(range(16))
NAME = PageName(VAULT, Tree.ACTIVE, 5, 7)
ROOT = PageName(VAULT, Tree.ACTIVE, 0, 7)
UNHURRIED = settings(deadline=None)
PAGE_KEY = b"p" * KEY_BYTES
# One less than a chunk of keys, a chunk, one more; the same for two chunks.
COUNTS = [0, 1, 2, 511, 512, 513, 1023, 1024]

Slots = dict[int, bytes]
KEYS = st.binary(min_size=KEY_BYTES, max_size=KEY_BYTES)
SLOTS = st.one_of(st.integers(0, COHORT_SLOTS - 1), st.sampled_from([0, 1, 7, 8, 511, 512, 1022, 1023]))
MODELS = st.dictionaries(SLOTS, KEYS, max_size=40)
RUNS = st.sets(SLOTS, max_size=40) | st.builds(lambda a, b: set(range(min(a, b), max(a, b))), SLOTS, SLOTS)


def secret(number: int) -> bytes:
    return hashlib.sha256(number.to_bytes(4, "big")).digest()


def page_key() -> Key:
    return Key(bytearray(PAGE_KEY))


def made(model: Mapping[int, bytes], level: int = 0, capacity: int = COHORT_SLOTS) -> KeyPage:
    live = sorted(model)
    return KeyPage(level, capacity, slots_to_bitmap(live, capacity), bytearray(b"".join(model[slot] for slot in live)))


def first(count: int) -> Slots:
    return {slot: secret(slot) for slot in range(count)}


def read(page: KeyPage) -> Slots:
    return {slot: raw(page.key(slot)) for slot in range(page.capacity) if page.is_live(slot)}


def sealed_message(key: bytes, name: PageName, sealed: bytes | bytearray) -> tuple[bytes, bytes]:
    """What is in the whole chunks, and what in the last one."""
    opener, buffer = Opener(Key(bytearray(key)), name.context()), bytearray(len(sealed) + CHUNK_BYTES)
    count = opener.update_into(sealed, buffer)
    return bytes(buffer[:count]), opener.finish()


# --- against a plain dictionary -----------------------------------------------------------------------


@UNHURRIED
@given(MODELS)
def test_a_page_is_a_dictionary(model: Slots) -> None:
    with made(model) as page:
        assert read(page) == model
        assert page.live_count == len(model)
        assert list(slots_of(page.bitmap)) == sorted(model)
        for slot in set(range(0, COHORT_SLOTS, 97)) - set(model):
            with pytest.raises(KeyError):
                page.key(slot)


@UNHURRIED
@given(MODELS, RUNS, st.dictionaries(SLOTS, KEYS, max_size=6))
def test_rewriting_keeps_what_is_kept_and_puts_what_is_put(model: Slots, keep: set[int], put: Slots) -> None:
    with made(model) as page:
        keys = {slot: Key(bytearray(value)) for slot, value in put.items()}
        with page.rewritten(slots_to_bitmap(keep), keys) as after:
            assert read(after) == {slot: model[slot] for slot in model if slot in keep} | put
            assert len(after._keys) == KEY_BYTES * after.live_count, "nothing else is in the new page's memory"
        assert read(page) == model, "the old page is as it was"


@UNHURRIED
@given(MODELS, MODELS, RUNS, st.booleans())
def test_carrying_is_having_the_same_keys(model: Slots, other: Slots, slots: set[int], merged: bool) -> None:  # noqa: FBT001
    other = other | model if merged else other
    with made(model) as one, made(other) as two:
        expected = all(slot in model and model[slot] == other.get(slot) for slot in slots)
        assert one.carries(two, slots_to_bitmap(slots)) is expected
        assert two.carries(one, slots_to_bitmap(slots)) is expected


@UNHURRIED
@given(MODELS.filter(bool), st.data())
def test_one_other_key_is_not_carried(model: Slots, data: st.DataObject) -> None:
    slot = data.draw(st.sampled_from(sorted(model)))
    other = bytearray(model[slot])
    other[data.draw(st.integers(0, KEY_BYTES - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with made(model) as one, made(model | {slot: bytes(other)}) as two:
        assert one.carries(one, slots_to_bitmap(model))
        assert not one.carries(two, slots_to_bitmap(model))
        assert one.carries(two, slots_to_bitmap(set(model) - {slot}))


@UNHURRIED
@given(MODELS)
def test_sealing_and_opening(model: Slots) -> None:
    with made(model) as page, KeyPage.open(NAME, page_key(), page.seal(NAME, page_key())) as opened:
        assert read(opened) == model
        assert (opened.level, opened.capacity, opened.bitmap) == (0, COHORT_SLOTS, page.bitmap)


@UNHURRIED
@given(st.sets(st.integers(0, 2047)), st.sampled_from([2048, 2049, 4096, 65_536]))
def test_bitmaps(slots: set[int], capacity: int) -> None:
    bitmap = slots_to_bitmap(slots, capacity)
    assert len(bitmap) == -(-capacity // 8)
    assert list(slots_of(bitmap)) == sorted(slots)


@pytest.mark.parametrize("slot", [-1, COHORT_SLOTS, COHORT_SLOTS + 1])
def test_slots_outside_are_refused(slot: int) -> None:
    with pytest.raises(ValueError, match="outside"):
        slots_to_bitmap([slot])
    with made({0: secret(0)}) as page, Key.generate() as key:
        with pytest.raises(ValueError, match=r"outside|negative"):
            page.rewritten(EVERY_SLOT, {slot: key})
        assert read(page) == {0: secret(0)}


@pytest.mark.parametrize("top", [1, 1023, 1024, 2047, 2048, MAX_COHORTS])
def test_a_root_page_grows_and_keeps_its_keys(top: int) -> None:
    capacity = (top // 1024 + 1) * 1024
    with made({1: secret(1)}, level=1, capacity=1024) as page, Key(bytearray(secret(top))) as key:
        everything = b"\xff" * (capacity // 8)
        with page.rewritten(everything, {top: key}, capacity) as grown:
            sealed = grown.seal(ROOT, page_key())
    with KeyPage.open(ROOT, page_key(), sealed) as opened:
        assert opened.capacity == capacity
        assert {slot: raw(opened.key(slot)) for slot in slots_of(opened.bitmap)} == {1: secret(1), top: secret(top)}


def test_a_page_does_not_shrink_over_a_key() -> None:
    with (
        made({1500: secret(1)}, level=1, capacity=2048) as page,
        pytest.raises(ValueError, match="outside"),
    ):
        page.rewritten(b"\xff" * 256, None, 1024)


def test_a_fresh_cohort_has_1024_keys_that_differ() -> None:
    with KeyPage.fresh_cohort() as page, KeyPage.fresh_cohort() as other:
        assert page.live_count == COHORT_SLOTS
        assert len(set(read(page).values()) | set(read(other).values())) == 2 * COHORT_SLOTS


# --- what is left in the bytes ------------------------------------------------------------------------


@pytest.mark.parametrize("count", COUNTS)
def test_no_key_passes_through_the_last_chunk(count: int) -> None:
    model = first(count)
    with made(model) as page:
        sealed = page.seal(NAME, page_key())
    area, last = sealed_message(PAGE_KEY, NAME, sealed)
    keys = b"".join(model.values())
    assert area == keys.ljust(-(-len(keys) // CHUNK_BYTES) * CHUNK_BYTES, b"\0")
    assert last == struct.pack(">4sBBII", b"SVKP", 1, 0, COHORT_SLOTS, count) + slots_to_bitmap(model)
    assert len(sealed) == sealed_size(len(area) + len(last))


@pytest.mark.parametrize("count", COUNTS)
def test_the_product_hands_out_only_the_trailer(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `finish` returns is immutable; with a page it must be free of keys, both ways."""
    given: list[bytes] = []
    for owner in (Sealer, Opener):

        def noted(self: object, real: Callable[[object], bytes] = owner.finish) -> bytes:  # type: ignore[assignment]
            given.append(real(self))
            return given[-1]

        monkeypatch.setattr(owner, "finish", noted)
    with made(first(count)) as page:
        sealed = page.seal(NAME, page_key())
    with KeyPage.open(NAME, page_key(), sealed) as opened:
        assert read(opened) == first(count)
    trailer = 14 + COHORT_SLOTS // 8
    assert [len(piece) for piece in given] == [trailer + 16, trailer]
    assert given[1].startswith(b"SVKP")


@pytest.mark.parametrize("removed", [0, 1, 511, 512, 1023])
def test_a_removed_key_is_nowhere_in_the_new_page(removed: int) -> None:
    model = first(COHORT_SLOTS)
    with made(model) as page:
        assert model[removed] in sealed_message(PAGE_KEY, NAME, page.seal(NAME, page_key()))[0]
        with page.rewritten(slots_to_bitmap(set(model) - {removed})) as after:
            area, last = sealed_message(PAGE_KEY, NAME, after.seal(NAME, page_key()))
    assert model[removed] not in area + last


@pytest.mark.parametrize("count", COUNTS)
def test_a_sealed_page_shows_no_key_and_no_page_is_sealed_twice_alike(count: int) -> None:
    with made(first(count)) as page:
        sealed = {bytes(page.seal(NAME, page_key())) for _ in range(2)}
    assert len(sealed) == 2
    assert not any(secret(slot)[:16] in blob for slot in range(1, count) for blob in sealed)


# --- attacks ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "other",
    [
        PageName(VAULT, Tree.ACTIVE, 6, 7),
        PageName(VAULT, Tree.ACTIVE, 5, 6),
        PageName(VAULT, Tree.ACTIVE, 5, 8),
        PageName(VAULT, Tree.HELD, 5, 7),
        PageName(VAULT, Tree.ACTIVE, 0, 7),
        PageName(bytes(16), Tree.ACTIVE, 5, 7),
        PageName(b"", Tree.ACTIVE, 5, 7),
    ],
    ids=["other cohort", "earlier version", "later version", "other tree", "root page", "other vault", "no vault"],
)
def test_a_page_does_not_stand_in_another_place(other: PageName) -> None:
    with made(first(5)) as page:
        sealed = page.seal(NAME, page_key())
    KeyPage.open(NAME, page_key(), sealed).wipe()
    with pytest.raises(SealBrokenError):
        KeyPage.open(other, page_key(), sealed)


def test_a_page_sealed_at_the_wrong_level_is_refused_by_its_trailer() -> None:
    with made(first(5), level=1) as page:
        sealed = page.seal(NAME, page_key())
    with pytest.raises(SealBrokenError):
        KeyPage.open(NAME, page_key(), sealed)


def test_the_level_is_in_the_context() -> None:
    assert NAME.context().endswith(b"\0\0\0\1\0")
    assert ROOT.context().endswith(b"\0\0\0\1\1")


@pytest.mark.parametrize("count", COUNTS)
def test_cut_extended_and_altered_pages_are_refused(count: int) -> None:
    with made(first(count)) as page:
        sealed = page.seal(NAME, page_key())
    KeyPage.open(NAME, page_key(), sealed).wipe()
    chunks = range(56, len(sealed), CHUNK_BYTES + 16)
    for cut in {0, 55, *chunks, *(edge + 16 for edge in chunks), len(sealed) - 1} - {len(sealed)}:
        with pytest.raises(SealBrokenError):
            KeyPage.open(NAME, page_key(), sealed[:cut])
    with pytest.raises(SealBrokenError):
        KeyPage.open(NAME, page_key(), sealed + b"\0")
    for at in (0, 24, 56, len(sealed) // 2, len(sealed) - 1):
        altered = bytearray(sealed)
        altered[at] ^= 1
        with pytest.raises(SealBrokenError):
            KeyPage.open(NAME, page_key(), altered)
    with Key.generate() as other, pytest.raises(SealBrokenError):
        KeyPage.open(NAME, other, sealed)


def trailer(
    magic: bytes = b"SVKP",
    page_format: int = 1,
    level: int = 0,
    capacity: int = 1024,
    live: int = 2,
    bitmap: bytes | None = None,
) -> bytes:
    tail = slots_to_bitmap([1, 2]) if bitmap is None else bitmap
    return struct.pack(">4sBBII", magic, page_format, level, capacity, live) + tail


@pytest.mark.parametrize(
    "message",
    [
        bytes(CHUNK_BYTES),
        bytes(CHUNK_BYTES) + trailer()[:13],
        bytes(CHUNK_BYTES) + trailer(magic=b"SVKQ"),
        bytes(CHUNK_BYTES) + trailer(page_format=0),
        bytes(CHUNK_BYTES) + trailer(page_format=2),
        bytes(CHUNK_BYTES) + trailer(level=1),
        bytes(CHUNK_BYTES) + trailer(capacity=1016),
        bytes(CHUNK_BYTES) + trailer(capacity=1025),
        bytes(CHUNK_BYTES) + trailer(capacity=2**32 - 1),
        bytes(CHUNK_BYTES) + trailer(live=1),
        bytes(CHUNK_BYTES) + trailer(live=3),
        bytes(CHUNK_BYTES) + trailer(live=2**32 - 1),
        bytes(CHUNK_BYTES) + trailer(bitmap=b""),
        bytes(CHUNK_BYTES) + trailer()[:-1],
        bytes(CHUNK_BYTES) + trailer() + b"\0",
        bytes(CHUNK_BYTES) + trailer(capacity=1, bitmap=b"\6"),
        trailer(),
        bytes(2 * CHUNK_BYTES) + trailer(),
        bytes(CHUNK_BYTES) + trailer(live=0, bitmap=bytes(128)),
        bytes(CHUNK_BYTES) + trailer(live=513, bitmap=slots_to_bitmap(range(513))),
        b"",
    ],
    ids=range(21),
)
def test_a_layout_that_is_not_exact_is_refused(message: bytes) -> None:
    right = seal(page_key(), NAME.context(), bytes(CHUNK_BYTES) + trailer())
    KeyPage.open(NAME, page_key(), right).wipe()
    with pytest.raises(SealBrokenError):
        KeyPage.open(NAME, page_key(), seal(page_key(), NAME.context(), message))


@pytest.mark.parametrize(
    ("level", "capacity"),
    [(0, 8), (0, 1016), (0, 2048), (1, 0), (1, 512), (1, 1032), (1, 65_536 + 1024), (1, 2**20)],
)
def test_capacities_that_no_writer_makes_are_refused(level: int, capacity: int) -> None:
    name = NAME if level == 0 else replace(NAME, number=0)

    def message(capacity: int) -> bytes:
        return trailer(level=level, capacity=capacity, live=0, bitmap=bytes(capacity // 8))

    for good in (1024,) if level == 0 else (1024, 2048, 65_536):
        KeyPage.open(name, page_key(), seal(page_key(), name.context(), message(good))).wipe()
    with pytest.raises(SealBrokenError):
        KeyPage.open(name, page_key(), seal(page_key(), name.context(), message(capacity)))


def test_a_refused_page_leaves_no_keys_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    with made(first(1024), level=1) as page:
        sealed = page.seal(NAME, page_key())
    buffers: list[bytearray] = []
    real = Opener.update_into

    def noted(self: Opener, data: bytes, out: bytearray) -> int:
        buffers.append(out)
        return real(self, data, out)

    monkeypatch.setattr(Opener, "update_into", noted)
    with pytest.raises(SealBrokenError):
        KeyPage.open(NAME, page_key(), sealed)
    assert [any(buffer) for buffer in buffers] == [False]


# --- the end of a page --------------------------------------------------------------------------------


def test_wiping_overwrites_the_very_buffer() -> None:
    page = made(first(10))
    buffer = page._keys
    with page:
        assert any(buffer)
    assert buffer == bytes(len(buffer))
    forgotten = made(first(10))
    buffer = forgotten._keys
    del forgotten
    assert not any(buffer)


def test_use_after_the_end_raises() -> None:
    page, other = made(first(10)), made(first(10))
    page.wipe()
    with Key.generate() as key:
        for use in (
            lambda: page.key(1),
            lambda: page.seal(NAME, key),
            lambda: page.rewritten(EVERY_SLOT),
            lambda: page.carries(other, slots_to_bitmap([1])),
            lambda: other.carries(page, slots_to_bitmap([1])),
        ):
            with pytest.raises(WrongOrderError):
                use()
    assert read(other) == first(10)


def test_pages_are_not_pickled_copied_or_shown() -> None:
    page = made({1: b"SECRET__" * 4})
    assert "SECRET" not in repr(page)
    for leak in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            leak(page)
    assert read(page) == {1: b"SECRET__" * 4}


def test_padding_that_hides_a_removed_key_is_refused() -> None:
    """The graph check trusts what `open` accepts: a key left in the padding would survive its destruction."""
    hidden = bytes(64) + secret(9) + bytes(CHUNK_BYTES - 96)
    with pytest.raises(SealBrokenError):
        KeyPage.open(NAME, page_key(), seal(page_key(), NAME.context(), hidden + trailer()))
