"""The seal: what was changed, cut or moved does not open."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keystore import (
    CHUNK_BYTES,
    Key,
    Opener,
    SealBrokenError,
    Sealer,
    WrongOrderError,
    context,
    derive_tag,
    open_sealed,
    seal,
    sealed_size,
)

SIZES = [0, 1, 15, 16, 17, 16_383, 16_384, 16_385, 32_767, 32_768, 32_769, 40_000]
BOUND_TO = context("shredvault/test/v1", b"a")
UNHURRIED = settings(deadline=None)
PREFIX = 56
SEALED_CHUNK = CHUNK_BYTES + 16


def key() -> Key:
    return Key(bytearray(b"k" * 32))


def message(size: int) -> bytes:
    return (bytes(range(251)) * (size // 251 + 1))[:size]


@pytest.mark.parametrize("size", SIZES)
def test_round_trip_and_size(size: int) -> None:
    sealed = seal(key(), BOUND_TO, message(size))
    assert len(sealed) == sealed_size(size)
    assert open_sealed(key(), BOUND_TO, sealed) == message(size)
    assert seal(key(), BOUND_TO, message(size)) != sealed, "salts are fresh"


@pytest.mark.parametrize("size", SIZES)
def test_every_cut_is_refused(size: int) -> None:
    sealed = seal(key(), BOUND_TO, message(size))
    boundaries = range(PREFIX, len(sealed), SEALED_CHUNK)
    cuts = {0, 1, 23, 24, 55, 56, 57, 71, 72, len(sealed) - 1, len(sealed) - 16, len(sealed) - 17}
    cuts |= {edge + step for edge in boundaries for step in (-1, 0, 1, 15, 16)}
    for cut in sorted(cut for cut in cuts if 0 <= cut < len(sealed)):
        with pytest.raises(SealBrokenError):
            open_sealed(key(), BOUND_TO, sealed[:cut])
    assert open_sealed(key(), BOUND_TO, sealed) == message(size)


@pytest.mark.parametrize("size", SIZES)
def test_every_extension_is_refused(size: int) -> None:
    sealed = seal(key(), BOUND_TO, message(size))
    for more in (b"\0", bytes(15), bytes(16), bytes(CHUNK_BYTES), bytes(sealed[-16:]), bytes(sealed[PREFIX:])):
        with pytest.raises(SealBrokenError):
            open_sealed(key(), BOUND_TO, sealed + more)


@pytest.mark.parametrize("size", SIZES)
def test_every_kind_of_flip_is_refused(size: int) -> None:
    sealed = seal(key(), BOUND_TO, message(size))
    places = {0, 23, 24, 55, PREFIX, PREFIX + SEALED_CHUNK - 1, PREFIX + SEALED_CHUNK, len(sealed) - 1}
    for at in sorted(at for at in places | set(range(PREFIX + 16)) if at < len(sealed)):
        for bit in (0, 7):
            broken = bytearray(sealed)
            broken[at] ^= 1 << bit
            with pytest.raises(SealBrokenError):
                open_sealed(key(), BOUND_TO, broken)


def test_chunks_do_not_change_places() -> None:
    sealed = seal(key(), BOUND_TO, message(40_000))
    first, second = sealed[PREFIX : PREFIX + SEALED_CHUNK], sealed[PREFIX + SEALED_CHUNK : PREFIX + 2 * SEALED_CHUNK]
    last = sealed[PREFIX + 2 * SEALED_CHUNK :]
    for body in (second + first + last, first + first + last, second + last, first + last, last):
        with pytest.raises(SealBrokenError):
            open_sealed(key(), BOUND_TO, sealed[:PREFIX] + body)


def test_chunks_of_another_seal_do_not_fit() -> None:
    one, two = seal(key(), BOUND_TO, message(20_000)), seal(key(), BOUND_TO, message(20_000))
    for cut in (24, PREFIX, PREFIX + SEALED_CHUNK):
        with pytest.raises(SealBrokenError):
            open_sealed(key(), BOUND_TO, one[:cut] + two[cut:])


@pytest.mark.parametrize("size", [0, 1, 16_384])
@pytest.mark.parametrize("wrong", [b"", b"\0", BOUND_TO[:-1], BOUND_TO + b"\0", context("shredvault/test/v2", b"a")])
def test_another_context_is_refused(size: int, wrong: bytes) -> None:
    sealed = seal(key(), BOUND_TO, message(size))
    with pytest.raises(SealBrokenError):
        open_sealed(key(), wrong, sealed)


@pytest.mark.parametrize("at", [0, 15, 16, 31])
def test_another_key_is_refused(at: int) -> None:
    sealed = seal(key(), BOUND_TO, message(100))
    buffer = bytearray(b"k" * 32)
    buffer[at] ^= 1
    with pytest.raises(SealBrokenError):
        open_sealed(Key(buffer), BOUND_TO, sealed)


def test_all_refusals_say_the_same() -> None:
    sealed = seal(key(), BOUND_TO, message(20_000))
    attempts = (
        (Key.generate(), BOUND_TO, sealed),
        (key(), b"", sealed),
        (key(), BOUND_TO, sealed[:-1]),
        (key(), BOUND_TO, sealed[: PREFIX + SEALED_CHUNK]),
        (key(), BOUND_TO, b""),
    )
    said = set()
    for attempt in attempts:
        with pytest.raises(SealBrokenError) as refusal:
            open_sealed(*attempt)
        said.add(str(refusal.value))
    assert len(said) == 1


@UNHURRIED
@given(st.lists(st.integers(0, 20_000), max_size=6), st.integers(1, 40_000))
def test_pieces_make_no_difference(pieces: list[int], step: int) -> None:
    size = sum(pieces)
    sealer, out, count, at = Sealer(key(), BOUND_TO), bytearray(sealed_size(size)), 0, 0
    for piece in pieces:
        with memoryview(out) as view:
            count += sealer.update_into(message(size)[at : at + piece], view[count:])
        at += piece
    out[count:] = sealer.finish()
    assert len(out) == sealed_size(size)
    opener, opened, buffer = Opener(key(), BOUND_TO), b"", bytearray(step + CHUNK_BYTES)
    for start in range(0, len(out), step):
        opened += bytes(buffer[: opener.update_into(out[start : start + step], buffer)])
    assert opened + opener.finish() == message(size)


def test_nothing_false_is_handed_out_before_the_refusal() -> None:
    sealed = seal(key(), BOUND_TO, message(40_000))
    sealed[PREFIX + SEALED_CHUNK + 5] ^= 1
    opener, buffer = Opener(key(), BOUND_TO), bytearray(100_000)
    count = opener.update_into(sealed[: PREFIX + SEALED_CHUNK], buffer)
    assert buffer[:count] == message(40_000)[:count]
    with pytest.raises(SealBrokenError):
        opener.update_into(sealed[PREFIX + SEALED_CHUNK :], buffer)
    # Dead after the failure, also for what would be right.
    for use in (lambda: opener.update_into(b"", buffer), opener.finish):
        with pytest.raises(WrongOrderError):
            use()


def test_a_missing_end_is_seen_at_the_end_only_and_ends_the_opener() -> None:
    sealed = seal(key(), BOUND_TO, message(40_000))
    opener, buffer = Opener(key(), BOUND_TO), bytearray(100_000)
    assert opener.update_into(sealed[: PREFIX + 2 * SEALED_CHUNK], buffer) == 2 * CHUNK_BYTES
    with pytest.raises(SealBrokenError):
        opener.finish()
    with pytest.raises(WrongOrderError):
        opener.finish()


def test_a_message_ends_once() -> None:
    sealer = Sealer(key(), BOUND_TO)
    sealer.finish()
    with pytest.raises(WrongOrderError):
        sealer.finish()
    opener = Opener(key(), BOUND_TO)
    opener.update_into(seal(key(), BOUND_TO, b""), bytearray(CHUNK_BYTES * 2))
    assert opener.finish() == b""
    with pytest.raises(WrongOrderError):
        opener.finish()


def test_a_wiped_key_seals_and_opens_nothing() -> None:
    gone = Key.generate()
    gone.wipe()
    for use in (
        lambda: Sealer(gone, BOUND_TO),
        lambda: Opener(gone, BOUND_TO),
        lambda: derive_tag(gone, BOUND_TO),
    ):
        with pytest.raises(WrongOrderError):
            use()


FIELDS = st.lists(st.binary(max_size=12), max_size=5)
LABELS = st.text(st.characters(codec="ascii"), max_size=12)


@UNHURRIED
@given(LABELS, FIELDS, LABELS, FIELDS)
def test_different_fields_never_give_one_context(
    label: str, fields: list[bytes], other: str, others: list[bytes]
) -> None:
    same = (label, fields) == (other, others)
    assert (context(label, *fields) == context(other, *others)) is same


@pytest.mark.parametrize("size", [1, 16, 32, 63, 64])
def test_tags(size: int) -> None:
    tag = derive_tag(key(), BOUND_TO, size)
    assert len(tag) == size
    assert derive_tag(key(), BOUND_TO, size) == tag
    wide = max(size, 16)
    assert derive_tag(key(), BOUND_TO + b"\0", wide) != derive_tag(key(), BOUND_TO, wide)
    with Key.generate() as other:
        assert derive_tag(other, BOUND_TO, wide) != derive_tag(key(), BOUND_TO, wide)


@pytest.mark.parametrize("size", [-1, 0, 65, 1000])
def test_other_sizes_of_tags_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match="1 to 64"):
        derive_tag(key(), BOUND_TO, size)
