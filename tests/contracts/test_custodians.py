"""The contract of `keystore.Custodian`, on every custodian; then what only the file custodian promises."""

import errno
import fcntl
import io
import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from keystore import (
    KEY_BYTES,
    Custodian,
    CustodianError,
    CustodianUnavailableError,
    Key,
    KeyGoneError,
    MasterExistsError,
    MasterGoneError,
    MasterState,
    SealBrokenError,
    open_custodian,
)
from keystore.custodians import FileCustodian, file
from tests.services.openbao import Engine
from tests.services.softhsm import SoftToken

ROOT = Path(__file__).parents[2]
BOUND_TO = b"vault, tree, epoch, version"
BAD_NAMES = [
    *("", "A", "a.b", "a/b", "../a", "..", "a b", "a\n", "a\0", "ä", "a_b", "a" * 65, "a.master", "a.partial", "*"),
]
RACERS = 4
RACED_NAMES = 40


@dataclass(frozen=True)
class Place:
    """Where a custodian under test keeps its keys; opened anew as often as a test likes."""

    uri: str
    home: Path
    raced_names: int = RACED_NAMES

    def open(self) -> Custodian:
        return open_custodian(self.uri, away_from=self.home, make=True)


def file_place(folder: Path, _: pytest.FixtureRequest) -> Place:
    return Place(f"file:{folder}/keys", folder / "home")


def split_place(folder: Path, _: pytest.FixtureRequest) -> Place:
    return Place(f"split:file:{folder}/keys-1,file:{folder}/keys-2", folder / "home")


def awskms_place(folder: Path, request: pytest.FixtureRequest) -> Place:
    # An account of its own for each test: ministack takes 12 digits as the account.
    environment: pytest.MonkeyPatch = request.getfixturevalue("monkeypatch")
    environment.setenv("AWS_ACCESS_KEY_ID", str(secrets.randbelow(9 * 10**11) + 10**11))
    environment.setenv("AWS_SECRET_ACCESS_KEY", "not a secret")
    environment.setenv("AWS_CONFIG_FILE", os.devnull)
    url = request.getfixturevalue("ministack")
    # Each master there costs the emulator a fresh RSA key of 4096 bits, a second or two.
    return Place(f"awskms:us-east-1?endpoint={url}", folder / "home", raced_names=2)


def pkcs11_place(folder: Path, request: pytest.FixtureRequest) -> Place:
    token: SoftToken = request.getfixturevalue("soft_token")
    return Place(token.uri, folder / "home")


def openbao_place(folder: Path, request: pytest.FixtureRequest) -> Place:
    engine: Engine = request.getfixturevalue("engine")
    return Place(engine.uri, folder / "home")


PLACES: dict[str, Callable[[Path, pytest.FixtureRequest], Place]] = {
    "file": file_place,
    "pkcs11": pkcs11_place,
    "openbao": openbao_place,
    "awskms": awskms_place,
    "split": split_place,
}


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return PLACES[request.param](tmp_path, request)


@pytest.fixture
def custodian(place: Place) -> Custodian:
    return place.open()


@pytest.fixture
def root_key() -> Iterator[Key]:
    with Key.generate() as key:
        yield key


def opens(custodian: Custodian, name: str, wrapped: bytes, key: Key, bound_to: bytes = BOUND_TO) -> bool:
    with custodian.unwrap(name, wrapped, bound_to) as seen:
        return seen.same_as(key)


# --- the contract -------------------------------------------------------------------------------------


def test_what_is_wrapped_unwraps(custodian: Custodian, root_key: Key) -> None:
    custodian.create("a")
    wrapped = custodian.wrap("a", root_key, BOUND_TO)
    assert opens(custodian, "a", wrapped, root_key)
    assert bytes(root_key.reveal()) not in wrapped


def test_a_second_opening_sees_the_same_masters(place: Place, root_key: Key) -> None:
    first = place.open()
    first.create("a")
    wrapped = first.wrap("a", root_key, BOUND_TO)
    second = place.open()
    assert second.uri == first.uri == place.uri
    assert opens(second, "a", wrapped, root_key)
    second.destroy("a")
    assert first.describe("a") is MasterState.ABSENT
    with pytest.raises(MasterGoneError):
        first.unwrap("a", wrapped, BOUND_TO)


def test_two_wraps_of_one_key_differ(custodian: Custodian, root_key: Key) -> None:
    custodian.create("a")
    wraps = {custodian.wrap("a", root_key, BOUND_TO) for _ in range(50)}
    assert len(wraps) == 50
    assert all(opens(custodian, "a", wrapped, root_key) for wrapped in wraps)


@pytest.mark.parametrize("bound_to", [b"", b"\0", b"x" * 300])
def test_every_length_of_context(custodian: Custodian, root_key: Key, bound_to: bytes) -> None:
    custodian.create("a")
    wrapped = custodian.wrap("a", root_key, bound_to)
    assert opens(custodian, "a", wrapped, root_key, bound_to)


def test_names_and_states(custodian: Custodian) -> None:
    assert custodian.names() == frozenset()
    assert custodian.describe("a") is MasterState.ABSENT
    for name in ("a", "0", "-", "a" * 64, "active-0123456789abcdefghjkmnpqrs"):
        custodian.create(name)
        assert custodian.describe(name) is MasterState.LIVE
    assert custodian.names() == {"a", "0", "-", "a" * 64, "active-0123456789abcdefghjkmnpqrs"}
    custodian.destroy("a")
    assert custodian.describe("a") is MasterState.ABSENT
    assert custodian.names() == {"0", "-", "a" * 64, "active-0123456789abcdefghjkmnpqrs"}


def test_when_a_master_ends_by_itself(custodian: Custodian) -> None:
    with pytest.raises(MasterGoneError):
        custodian.expires_at("a")
    custodian.create("a")
    end = custodian.expires_at("a")
    assert end is None or (end.tzinfo is UTC and end > datetime.now(UTC))


def test_a_master_never_outlasts_the_end_that_it_is_given(custodian: Custodian, root_key: Key) -> None:
    """S7: where a custodian ends masters by itself it takes the end, to the second; else the master just stays."""
    ends_at = datetime.now(UTC).replace(microsecond=0) + timedelta(days=3)
    custodian.create("a", ends_at)
    assert custodian.expires_at("a") in (None, ends_at)
    assert (custodian.expires_at("a") == ends_at) is custodian.ends_masters is custodian.uri.startswith("awskms:")
    assert opens(custodian, "a", custodian.wrap("a", root_key, BOUND_TO), root_key)


def test_a_taken_name_is_refused_and_its_master_unchanged(custodian: Custodian, root_key: Key) -> None:
    custodian.create("a")
    wrapped = custodian.wrap("a", root_key, BOUND_TO)
    with pytest.raises(MasterExistsError):
        custodian.create("a")
    assert opens(custodian, "a", wrapped, root_key)


def test_a_name_made_again_is_another_master(custodian: Custodian, root_key: Key) -> None:
    """Names are used once; should one come again all the same, the dead must not."""
    custodian.create("a")
    wrapped = custodian.wrap("a", root_key, BOUND_TO)
    custodian.destroy("a")
    try:
        custodian.create("a")
    except MasterExistsError:
        return
    with pytest.raises(SealBrokenError):
        custodian.unwrap("a", wrapped, BOUND_TO)


@pytest.mark.parametrize("other", [b"", BOUND_TO[:-1], BOUND_TO + b"\0", BOUND_TO.upper()])
def test_another_context_is_refused(custodian: Custodian, root_key: Key, other: bytes) -> None:
    custodian.create("a")
    wrapped = custodian.wrap("a", root_key, BOUND_TO)
    with pytest.raises(SealBrokenError):
        custodian.unwrap("a", wrapped, other)
    assert opens(custodian, "a", wrapped, root_key)


def test_another_master_is_refused(custodian: Custodian, root_key: Key) -> None:
    custodian.create("a")
    custodian.create("b")
    wrapped = custodian.wrap("a", root_key, BOUND_TO)
    with pytest.raises(SealBrokenError):
        custodian.unwrap("b", wrapped, BOUND_TO)
    assert opens(custodian, "a", wrapped, root_key)


def test_every_changed_byte_and_every_length_is_refused(custodian: Custodian, root_key: Key) -> None:
    custodian.create("a")
    wrapped = custodian.wrap("a", root_key, BOUND_TO)
    changed = [wrapped[:at] + bytes([wrapped[at] ^ 1]) + wrapped[at + 1 :] for at in range(len(wrapped))]
    cut = [wrapped[:size] for size in range(len(wrapped))]
    longer = [wrapped + b"\0", b"\0" + wrapped, wrapped * 2]
    for blob in (*changed, *cut, *longer):
        with pytest.raises(SealBrokenError):
            custodian.unwrap("a", blob, BOUND_TO)
    assert opens(custodian, "a", wrapped, root_key)


def test_a_destroyed_master_does_nothing_any_more(custodian: Custodian, root_key: Key) -> None:
    custodian.create("a")
    custodian.create("b")
    wrapped, other = custodian.wrap("a", root_key, BOUND_TO), custodian.wrap("b", root_key, BOUND_TO)
    assert opens(custodian, "a", wrapped, root_key)
    for _ in range(3):
        custodian.destroy("a")
        assert custodian.describe("a") is MasterState.ABSENT
        with pytest.raises(MasterGoneError):
            custodian.unwrap("a", wrapped, BOUND_TO)
        with pytest.raises(MasterGoneError):
            custodian.wrap("a", root_key, BOUND_TO)
    assert custodian.names() == {"b"}
    assert opens(custodian, "b", other, root_key)


def test_an_absent_master(custodian: Custodian, root_key: Key) -> None:
    with pytest.raises(MasterGoneError):
        custodian.wrap("a", root_key, BOUND_TO)
    with pytest.raises(MasterGoneError):
        custodian.unwrap("a", bytes(60), BOUND_TO)
    custodian.destroy("a")
    assert custodian.names() == frozenset()


@pytest.mark.parametrize("name", BAD_NAMES, ids=repr)
def test_bad_names_are_refused_by_every_method(custodian: Custodian, root_key: Key, name: str) -> None:
    custodian.create("a")
    for call in (
        lambda: custodian.create(name),
        lambda: custodian.wrap(name, root_key, BOUND_TO),
        lambda: custodian.unwrap(name, bytes(60), BOUND_TO),
        lambda: custodian.describe(name),
        lambda: custodian.destroy(name),
    ):
        with pytest.raises(CustodianError) as refusal:
            call()
        assert not isinstance(refusal.value, MasterGoneError | MasterExistsError | CustodianUnavailableError)
    assert custodian.names() == {"a"}


def test_a_wiped_key_is_not_wrapped(custodian: Custodian) -> None:
    custodian.create("a")
    key = Key.generate()
    key.wipe()
    with pytest.raises(KeyGoneError):
        custodian.wrap("a", key, BOUND_TO)


def test_of_several_threads_that_create_one_name_one_wins(place: Place, root_key: Key) -> None:
    names = [f"n-{number}" for number in range(place.raced_names)]
    start = threading.Barrier(RACERS)

    def race() -> list[str]:
        custodian, won = place.open(), []
        for name in names:
            start.wait(timeout=60)
            try:
                custodian.create(name)
            except MasterExistsError:
                continue
            # What create promises holds at once: the master is whole, usable, and its own.
            with custodian.unwrap(name, custodian.wrap(name, root_key, BOUND_TO), BOUND_TO) as seen:
                assert seen.same_as(root_key)
            won.append(name)
        return won

    place.open()
    with ThreadPoolExecutor(RACERS) as pool:
        racers = [pool.submit(race) for _ in range(RACERS)]
        won = [name for racer in racers for name in racer.result()]
    assert sorted(won) == sorted(names)
    assert place.open().names() == set(names)


RACER = """
import sys
from pathlib import Path
from keystore import MasterExistsError, open_custodian
custodian = open_custodian(sys.argv[1], away_from=Path(sys.argv[2]))
print("ready", flush=True)
sys.stdin.readline()
for number in range(int(sys.argv[3])):
    try:
        custodian.create(f"n-{number}")
    except MasterExistsError:
        continue
    print(f"n-{number}")
"""


def test_of_several_processes_that_create_one_name_one_wins(place: Place) -> None:
    command = [sys.executable, "-c", RACER, place.uri, str(place.home), str(place.raced_names)]
    place.open()
    racers = [
        subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(RACERS)
    ]
    for racer in racers:
        assert racer.stdout
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin
        racer.stdin.write("go\n")
        racer.stdin.flush()
    won: list[str] = []
    for racer in racers:
        won += racer.communicate(timeout=60)[0].split()
        assert racer.returncode == 0
    assert sorted(won) == sorted(f"n-{number}" for number in range(place.raced_names))
    assert place.open().names() == set(won)


def test_the_assurance_is_said_in_words(custodian: Custodian) -> None:
    assurance = custodian.assurance
    assert assurance.kind in {"software", "hardware", "service"}
    assert assurance.takes_effect
    assert assurance.copies


# --- the file custodian only --------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "keys"


@pytest.fixture
def files(folder: Path, tmp_path: Path) -> FileCustodian:
    return FileCustodian(folder, away_from=tmp_path / "home")


def test_only_the_owner_may_read(files: FileCustodian, folder: Path) -> None:
    old = os.umask(0)
    try:
        files.create("a")
    finally:
        os.umask(old)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "a.master").stat().st_mode & 0o777 == 0o600
    assert (folder / "a.master").stat().st_nlink == 1
    assert [path.name for path in folder.iterdir()] == ["a.master"]
    assert (folder / "a.master").stat().st_size == KEY_BYTES


@pytest.mark.parametrize("mode", [0o701, 0o710, 0o720, 0o704, 0o777])
def test_a_folder_open_to_others_is_refused(folder: Path, tmp_path: Path, mode: int) -> None:
    folder.mkdir(mode=0o700)
    FileCustodian(folder, away_from=tmp_path / "home")
    folder.chmod(mode)
    with pytest.raises(CustodianError, match="0700"):
        FileCustodian(folder, away_from=tmp_path / "home")


@pytest.mark.parametrize("uri", ["file:{}/keys", "split:file:{}/other,file:{}/keys"])
def test_a_folder_in_use_is_not_made_anew(tmp_path: Path, uri: str, root_key: Key) -> None:
    """Empty, in the place of a disk that is not mounted, it would answer that every master is gone."""
    uri, home = uri.replace("{}", str(tmp_path)), tmp_path / "home"
    custodian = open_custodian(uri, away_from=home, make=True)
    custodian.create("a")
    wrapped = custodian.wrap("a", root_key, BOUND_TO)
    (tmp_path / "keys").rename(tmp_path / "away")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(CustodianUnavailableError, match="not there"):
        open_custodian(uri, away_from=home)
    with pytest.raises(CustodianUnavailableError):
        custodian.unwrap("a", wrapped, BOUND_TO)
    with pytest.raises(CustodianUnavailableError):
        custodian.describe("a")
    assert sorted(tmp_path.rglob("*")) == before
    (tmp_path / "away").rename(tmp_path / "keys")
    assert open_custodian(uri, away_from=home).describe("a") is MasterState.LIVE


@pytest.mark.parametrize("keys", ["home", "home/keys", "home/a/b", ".", "home/../home/keys", "link", "link/keys"])
def test_keys_and_home_must_lie_apart(tmp_path: Path, keys: str) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(home)
    FileCustodian(tmp_path / "elsewhere", away_from=home)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(CustodianError, match="apart"):
        FileCustodian(tmp_path / keys, away_from=home)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_home_inside_the_keys_is_refused_through_a_link_too(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    (keys / "home").mkdir(parents=True, mode=0o700)
    (tmp_path / "link").symlink_to(keys / "home")
    for home in (keys / "home", tmp_path / "link", keys / "home" / "deeper"):
        with pytest.raises(CustodianError, match="apart"):
            FileCustodian(keys, away_from=home)


def test_a_similar_name_is_no_parent(tmp_path: Path) -> None:
    FileCustodian(tmp_path / "home-keys", away_from=tmp_path / "home").create("a")


@pytest.mark.parametrize("left", ["a.partial", "a.0123456789abcdef.partial"])
@pytest.mark.parametrize("size", [0, 1, 31, 32])
def test_what_a_cut_off_creation_left_is_no_master(files: FileCustodian, folder: Path, size: int, left: str) -> None:
    (folder / left).write_bytes(secrets.token_bytes(size))
    assert files.names() == frozenset()
    with Key.generate() as key, pytest.raises(MasterGoneError):
        files.wrap("a", key, BOUND_TO)
    files.create("a")
    assert files.names() == {"a"}
    files.create("ab")
    files.destroy("a")
    assert files.describe("a") is MasterState.ABSENT
    assert [path.name for path in folder.iterdir()] == ["ab.master"], "key bytes of either must not stay"


def test_a_file_that_a_cut_off_creation_left_goes_with_destroy(files: FileCustodian, folder: Path) -> None:
    (folder / "a.partial").write_bytes(secrets.token_bytes(32))
    assert files.describe("a") is MasterState.LIVE, "its bytes are a key's until they are gone"
    files.destroy("a")
    assert files.describe("a") is MasterState.ABSENT
    assert list(folder.iterdir()) == []


DEATHS: dict[str, tuple[object, str]] = {
    "write": (os, "fsync"),
    "sync": (fcntl, "flock"),
    "lock": (os, "rename"),
    "rename": (file, "_sync_folder"),
}


@pytest.mark.parametrize("after", DEATHS)
def test_a_creation_cut_off_anywhere_leaves_a_whole_master_or_none(
    files: FileCustodian, folder: Path, root_key: Key, after: str
) -> None:
    child = os.fork()
    if child == 0:
        place, name = DEATHS[after]
        setattr(place, name, lambda *_: os._exit(9))
        files.create("a")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert len(list(folder.iterdir())) == 1
    if after == "rename":
        assert files.names() == {"a"}
    else:
        with pytest.raises(MasterGoneError):
            files.wrap("a", root_key, BOUND_TO)
        files.create("a")
    assert opens(files, "a", files.wrap("a", root_key, BOUND_TO), root_key), "nothing is refused for good"
    files.destroy("a")
    assert list(folder.iterdir()) == []


def test_a_master_with_a_second_name_is_refused_until_that_is_gone(
    files: FileCustodian, folder: Path, root_key: Key
) -> None:
    files.create("a")
    wrapped = files.wrap("a", root_key, BOUND_TO)
    (folder / "kept").hardlink_to(folder / "a.master")
    for call in (lambda: files.wrap("a", root_key, BOUND_TO), lambda: files.unwrap("a", wrapped, BOUND_TO)):
        with pytest.raises(CustodianError, match="another name") as refusal:
            call()
        assert not isinstance(refusal.value, MasterGoneError | CustodianUnavailableError)
    for _ in range(2):
        with pytest.raises(CustodianError, match="another name"):
            files.destroy("a")
        assert files.describe("a") is MasterState.LIVE
    (folder / "kept").unlink()
    assert opens(files, "a", wrapped, root_key)
    files.destroy("a")
    assert files.describe("a") is MasterState.ABSENT


@pytest.mark.parametrize("size", [0, 1, 31, 33, 64, 1 << 20])
def test_a_damaged_master_is_an_error_and_not_gone(files: FileCustodian, folder: Path, size: int) -> None:
    files.create("a")
    with Key.generate() as key:
        wrapped = files.wrap("a", key, BOUND_TO)
        (folder / "a.master").write_bytes(secrets.token_bytes(size))
        for call in (lambda: files.wrap("a", key, BOUND_TO), lambda: files.unwrap("a", wrapped, BOUND_TO)):
            with pytest.raises(CustodianError, match="damaged") as refusal:
                call()
            assert not isinstance(refusal.value, MasterGoneError)
    assert files.describe("a") is MasterState.LIVE
    files.destroy("a")
    assert files.describe("a") is MasterState.ABSENT


class Syncs:
    """Counts real fsyncs by what they were of, and what was there at that moment."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[tuple[str, list[str]]] = []
        self._folder = folder
        self._real = os.fsync
        monkeypatch.setattr(os, "fsync", self._fsync)

    def _fsync(self, descriptor: int) -> None:
        self._real(descriptor)
        target = Path(f"/proc/self/fd/{descriptor}").readlink()
        kind = "folder" if target == self._folder else target.suffix
        self.seen.append((kind, sorted(path.suffix for path in self._folder.iterdir())))


def test_create_and_destroy_are_durable_when_they_return(
    files: FileCustodian, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    syncs = Syncs(folder, monkeypatch)
    files.create("a")
    # The bytes first, while no master has the name; then the name.
    assert syncs.seen == [(".partial", [".partial"]), ("folder", [".master"])]
    syncs.seen.clear()
    files.destroy("a")
    assert syncs.seen == [("folder", [])]
    syncs.seen.clear()
    files.destroy("a")
    assert syncs.seen == [("folder", [])], "an earlier destruction may have been cut off before its sync"


def test_a_new_folder_is_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    syncs = Syncs(tmp_path, monkeypatch)
    FileCustodian(tmp_path / "keys", away_from=tmp_path / "home")
    assert [kind for kind, _ in syncs.seen] == ["folder"]


def failing(error: int, calls: list[str]) -> Callable[..., int]:
    def fail(*arguments: object, **_: object) -> int:
        calls.append(str(arguments[0]))
        raise OSError(error, os.strerror(error))

    return fail


@pytest.mark.parametrize("function", ["open", "rename", "fsync"])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EROFS, errno.EIO, errno.EACCES])
def test_a_folder_that_cannot_be_written(
    files: FileCustodian, folder: Path, function: str, error: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.create("b")
    calls: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(os, function, failing(error, calls))
        with pytest.raises(CustodianUnavailableError) as failure:
            files.create("a")
    assert calls
    assert isinstance(failure.value.__cause__, OSError)
    assert files.names() == {"b"}
    assert [path.name for path in folder.iterdir()] == ["b.master"], "nothing is left of the failed creation"
    files.create("a")


def test_a_folder_that_cannot_be_synced_leaves_no_master(
    files: FileCustodian, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync

    def fail_on_folders(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").readlink() == folder:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail_on_folders)
        with pytest.raises(CustodianUnavailableError):
            files.create("a")
    assert list(folder.iterdir()) == []


def test_a_disk_that_fills_up_while_the_key_is_written(
    files: FileCustodian, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class FullDisk(io.FileIO):
        def write(self, data: object, /) -> int:  # noqa: ARG002
            return super().write(bytes(7))

    with monkeypatch.context() as patch:
        patch.setattr(io, "FileIO", FullDisk)
        # The random source is read through the same class, and is not written to.
        with pytest.raises(CustodianError, match="whole"):
            files.create("a")
    assert list(folder.iterdir()) == []


def test_a_master_that_cannot_be_removed_is_not_reported_gone(
    files: FileCustodian, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.create("a")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", failing(errno.EROFS, []))
        with pytest.raises(CustodianUnavailableError):
            files.destroy("a")
    assert files.describe("a") is MasterState.LIVE
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", lambda *_, **__: None)
        with pytest.raises(CustodianError, match="still there"):
            files.destroy("a")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing(errno.EIO, []))
        with pytest.raises(CustodianUnavailableError):
            files.destroy("a")
    files.destroy("a")


def test_a_folder_that_is_gone_is_no_proof_of_absence(files: FileCustodian, folder: Path) -> None:
    """An unmounted volume must not look like a destruction."""
    files.create("a")
    folder.rename(folder.with_name("away"))
    calls: tuple[Callable[[], object], ...] = (
        lambda: files.describe("a"),
        lambda: files.destroy("a"),
        files.names,
        lambda: files.create("b"),
    )
    for call in calls:
        with pytest.raises(CustodianUnavailableError):
            call()
    folder.with_name("away").rename(folder)
    assert files.describe("a") is MasterState.LIVE


def test_a_wrong_context_leaves_no_root_key_behind(
    files: FileCustodian, root_key: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GCM writes the plaintext before it has checked the tag."""
    buffers: list[bytearray] = []

    class Noted(bytearray):
        def __init__(self, *arguments: int) -> None:
            super().__init__(*arguments)
            buffers.append(self)

    files.create("a")
    wrapped = files.wrap("a", root_key, BOUND_TO)
    monkeypatch.setattr(file, "bytearray", Noted, raising=False)
    with pytest.raises(SealBrokenError):
        files.unwrap("a", wrapped, b"another context")
    assert buffers
    assert not any(any(buffer) for buffer in buffers)


@pytest.mark.parametrize(
    "uri", ["", "file:", "file:keys", "file://host/keys", "/keys", "pkcs12:/keys", "http://localhost/keys"]
)
def test_uris_that_name_no_custodian(tmp_path: Path, uri: str) -> None:
    with pytest.raises(CustodianError, match="file:"):
        open_custodian(uri, away_from=tmp_path)


def test_a_uri_may_be_quoted(tmp_path: Path) -> None:
    open_custodian(f"file:{tmp_path}/my%20keys", away_from=tmp_path / "home", make=True).create("a")
    assert (tmp_path / "my keys" / "a.master").exists()
