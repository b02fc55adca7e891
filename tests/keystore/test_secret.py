"""Keys have an owner and an end."""

import copy
import gc
import io
import pickle
import traceback
from collections.abc import Callable

import pytest

from keystore import KEY_BYTES, Key, KeyGoneError, WrongOrderError, fill_random, wipe
from tests.keystore.trees import raw


@pytest.mark.parametrize("size", [0, 1, 16, 31, 33, 64])
def test_other_sizes_are_no_keys(size: int) -> None:
    Key(bytearray(KEY_BYTES)).wipe()
    with pytest.raises(ValueError, match="32 bytes"):
        Key(bytearray(size))
    with pytest.raises(ValueError, match="32 bytes"):
        Key.copy_of(bytearray(size))


def test_wiping_overwrites_the_very_buffer() -> None:
    buffer = bytearray(b"k" * KEY_BYTES)
    key = Key(buffer)
    assert key.reveal() is buffer
    key.wipe()
    assert buffer == bytes(KEY_BYTES)
    key.wipe()


def test_the_end_of_the_block_is_the_end_of_the_key_also_when_it_fails() -> None:
    buffer = bytearray(b"k" * KEY_BYTES)
    with pytest.raises(ZeroDivisionError), Key(buffer):
        raise ZeroDivisionError
    assert buffer == bytes(KEY_BYTES)


def test_a_forgotten_key_is_wiped_with_its_owner() -> None:
    buffer = bytearray(b"k" * KEY_BYTES)
    key = Key(buffer)
    assert key.reveal() is buffer
    del key
    gc.collect()
    assert buffer == bytes(KEY_BYTES)


def test_use_after_the_end_raises() -> None:
    key, other = Key.generate(), Key.generate()
    assert not key.same_as(other)
    key.wipe()
    for use in (key.reveal, lambda: key.same_as(other), lambda: other.same_as(key)):
        with pytest.raises(KeyGoneError):
            use()
    assert issubclass(KeyGoneError, WrongOrderError)


def test_keys_are_compared_with_same_as_only() -> None:
    key = Key(bytearray(b"k" * KEY_BYTES))
    twin = Key(bytearray(b"k" * KEY_BYTES))
    assert key.same_as(twin)
    comparisons: tuple[Callable[[], object], ...] = (
        lambda: key == twin,
        lambda: key != twin,
        lambda: key == 1,
        lambda: [key].index(twin),
    )
    for comparison in comparisons:
        with pytest.raises(TypeError, match="same_as"):
            comparison()
    with pytest.raises(TypeError, match="unhashable"):
        hash(key)


@pytest.mark.parametrize("at", range(KEY_BYTES))
def test_one_bit_makes_another_key(at: int) -> None:
    buffer = bytearray(KEY_BYTES)
    buffer[at] = 0x80
    with Key(buffer) as key, Key(bytearray(KEY_BYTES)) as zero:
        assert not key.same_as(zero)


def test_no_text_shows_the_bytes() -> None:
    key = Key(bytearray(b"SECRETSECRETSECRETSECRETSECRET!!"))
    shown = "".join(traceback.format_exception(ValueError(key)))
    shown += f"{key} {key!r} {[key]} {{}}".format(key) + str(vars(type(key)).get("__slots__"))
    assert "SECRET" not in shown
    assert "53454352" not in shown
    assert not hasattr(key, "__dict__")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_keys_are_not_pickled(protocol: int) -> None:
    with pytest.raises(TypeError, match="never pickled"):
        pickle.dumps(Key.generate(), protocol)


def test_keys_are_not_copied() -> None:
    key = Key.generate()
    for copying in (copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="never pickled or copied"):
            copying(key)


def test_a_copy_lives_for_itself() -> None:
    page = bytearray(b"k" * KEY_BYTES)
    key = Key.copy_of(memoryview(page))
    wipe(page)
    assert key.reveal() == b"k" * KEY_BYTES


@pytest.mark.parametrize("size", [0, 1, 31, 32, 33, 1024, 32 * 1024])
def test_filling_and_wiping_every_byte(size: int) -> None:
    seen = bytearray(size)
    for _ in range(64):
        buffer = bytearray(size)
        fill_random(buffer)
        seen = bytearray(a | b for a, b in zip(seen, buffer, strict=True))
        wipe(buffer)
        assert buffer == bytes(size)
        if all(seen):
            break
    assert all(seen), "every position is filled"


def test_filling_a_part_leaves_the_rest() -> None:
    buffer = bytearray(96)
    fill_random(memoryview(buffer)[32:64])
    assert buffer[:32] == buffer[64:] == bytes(32)
    assert any(buffer[32:64])
    wipe(memoryview(buffer)[32:64])
    assert not any(buffer)


def test_a_random_source_that_gives_little_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(io.FileIO):
        def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
            return super().readinto(buffer[:5])

    with monkeypatch.context() as patch:
        patch.setattr(io, "FileIO", Slow)
        keys = {raw(Key.generate()) for _ in range(20)}
    assert len(keys) == 20
    assert not any(key.endswith(bytes(4)) for key in keys)


def test_a_random_source_that_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    class Empty(io.FileIO):
        def readinto(self, _: object, /) -> int:
            return 0

    with monkeypatch.context() as patch:
        patch.setattr(io, "FileIO", Empty)
        with pytest.raises(OSError, match="random source"):
            Key.generate()
    assert any(raw(Key.generate()))


def test_generated_keys_differ() -> None:
    assert len({raw(Key.generate()) for _ in range(200)}) == 200
