"""The contract of `vault.objects.Bucket`, on moto and on a real SeaweedFS server.

moto checks no signature and no credentials, so wrong credentials are only tried on the server; nor is its
conditional create atomic between threads, so neither is the race.
"""

import secrets
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr

from tests.services.object_stores import ObjectStore, settings
from vault.objects import (
    PART_BYTES_MIN,
    PUT_BYTES_MAX,
    Bucket,
    BucketMissing,
    ObjectExists,
    ObjectNotFound,
    ObjectStoreDenied,
    ObjectStoreMisbehaved,
)

MIB = 1024 * 1024
RACERS = 2  # SeaweedFS makes each loser of a race wait whole seconds
BOUNDARY_SIZES = [0, 1, PART_BYTES_MIN - 1, PART_BYTES_MIN, 8 * MIB]


@pytest.fixture(params=["versioned", "never versioned"])
def bucket(object_store: ObjectStore, request: pytest.FixtureRequest) -> Bucket:
    bucket = object_store.bucket()
    bucket.ensure(versioned=request.param == "versioned")
    return bucket


@pytest.fixture
def versioned(object_store: ObjectStore) -> Bucket:
    bucket = object_store.bucket()
    bucket.ensure()
    return bucket


def read_all(bucket: Bucket, name: str, step: int = MIB) -> bytes:
    content, buffer = bytearray(), memoryview(bytearray(step))
    with bucket.open(name) as reader:
        while count := reader.read_into(buffer):
            content += buffer[:count]
        assert reader.size == len(content)
        assert reader.read_into(buffer) == 0, "the end stays the end"
    return bytes(content)


# Round trips


@pytest.mark.parametrize("size", BOUNDARY_SIZES)
def test_what_is_put_is_read(bucket: Bucket, size: int) -> None:
    content = secrets.token_bytes(size)
    bucket.put("documents/a", bytearray(content))
    assert bucket.size("documents/a") == size
    assert bucket.get("documents/a", limit=size) == content
    assert read_all(bucket, "documents/a") == content


def test_every_kind_of_buffer_is_put(versioned: Bucket) -> None:
    content = secrets.token_bytes(100_000)
    buffer = bytearray(b"before" + content + b"after")
    window = memoryview(buffer)[6:-5]
    for body in (content, bytearray(content), memoryview(content), memoryview(bytearray(content)), window):
        versioned.put("documents/a", body)
        assert versioned.get("documents/a", limit=MIB) == content
    with versioned.start_parts("documents/b") as upload:
        upload.add(window)
        upload.complete()
    assert versioned.get("documents/b", limit=MIB) == content
    assert bytes(buffer) == b"before" + content + b"after"


def test_a_body_over_the_limit_is_not_sent(versioned: Bucket) -> None:
    with pytest.raises(ValueError, match="at most"):
        versioned.put("documents/a", memoryview(bytes(PUT_BYTES_MAX + 1)))
    assert list(versioned.versions("")) == []


def test_get_refuses_more_than_its_limit(versioned: Bucket) -> None:
    versioned.put("documents/a", bytes(1001))
    assert len(versioned.get("documents/a", limit=1001)) == 1001
    with pytest.raises(ObjectStoreMisbehaved, match="longer than"):
        versioned.get("documents/a", limit=1000)


def test_the_last_put_wins(bucket: Bucket) -> None:
    bucket.put("documents/a", b"first")
    bucket.put("documents/a", b"second")
    assert bucket.get("documents/a", limit=100) == b"second"


# Not there


def test_an_absent_object(bucket: Bucket) -> None:
    bucket.put("documents/a", b"x")
    # not "documents/": SeaweedFS has folders and answers for them with an empty object
    for absent in ("documents/b", "documents", "documents/a/b"):
        with pytest.raises(ObjectNotFound):
            bucket.get(absent, limit=10)
        with pytest.raises(ObjectNotFound):
            bucket.open(absent)
        with pytest.raises(ObjectNotFound):
            bucket.size(absent)


def test_a_deleted_object_is_absent(bucket: Bucket) -> None:
    bucket.put("documents/a", b"x")
    bucket.delete_every_version(["documents/a"])
    with pytest.raises(ObjectNotFound):
        bucket.size("documents/a")
    with pytest.raises(ObjectNotFound):
        bucket.get("documents/a", limit=10)


def test_a_missing_bucket(object_store: ObjectStore) -> None:
    absent = object_store.bucket()
    with pytest.raises(BucketMissing):
        absent.check()
    with pytest.raises(BucketMissing):
        absent.put("documents/a", b"x")
    with pytest.raises(BucketMissing):
        absent.get("documents/a", limit=1)
    with pytest.raises(BucketMissing):
        absent.size("documents/a")
    with pytest.raises(BucketMissing):
        absent.start_parts("documents/a")
    with pytest.raises(BucketMissing):
        list(absent.names(""))
    with pytest.raises(BucketMissing):
        absent.delete_every_version(["documents/a"])
    with pytest.raises(BucketMissing):
        absent.check()  # and none of it made the bucket


def test_ensure_may_be_repeated_and_keeps_what_is_there(object_store: ObjectStore) -> None:
    bucket = object_store.bucket()
    bucket.ensure(versioned=False)
    bucket.put("documents/a", b"x")
    for _ in range(2):
        bucket.ensure()
        bucket.check()
    assert bucket.get("documents/a", limit=1) == b"x"


# Create only if absent


def test_a_conditional_create_takes_a_free_name_only(bucket: Bucket) -> None:
    bucket.put("documents/a", b"first", if_absent=True)
    with pytest.raises(ObjectExists):
        bucket.put("documents/a", b"second", if_absent=True)
    assert bucket.get("documents/a", limit=10) == b"first"
    assert len(list(bucket.versions("documents/a"))) == 1
    bucket.delete_every_version(["documents/a"])
    bucket.put("documents/a", b"third", if_absent=True)
    assert bucket.get("documents/a", limit=10) == b"third"


@pytest.mark.parametrize("versions", [True, False])
def test_of_racing_creates_exactly_one_wins(real_store: ObjectStore, *, versions: bool) -> None:
    bucket = real_store.bucket()
    bucket.ensure(versioned=versions)
    for round_number in range(3):
        name, start, won = f"documents/{round_number}", threading.Barrier(RACERS), list[bytes]()

        def create(body: bytes, name: str = name, start: threading.Barrier = start, won: list[bytes] = won) -> None:
            start.wait(10)
            try:
                bucket.put(name, body, if_absent=True)
            except ObjectExists:
                return
            won.append(body)

        threads = [threading.Thread(target=create, args=(b"body %d" % n,)) for n in range(RACERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert len(won) == 1
        assert bucket.get(name, limit=100) == won[0]


# Uploads in parts


@pytest.mark.parametrize("sizes", [[1], [PART_BYTES_MIN, 1], [8 * MIB, 8 * MIB, 123_457]])
def test_parts_become_one_object(bucket: Bucket, sizes: list[int]) -> None:
    parts = [secrets.token_bytes(size) for size in sizes]
    buffer = bytearray(max(sizes))
    with bucket.start_parts("documents/a") as upload:
        for part in parts:
            buffer[: len(part)] = part
            upload.add(memoryview(buffer)[: len(part)])
        assert list(bucket.names("")) == [], "nothing is seen before the end"
        upload.complete()
    assert bucket.get("documents/a", limit=sum(sizes)) == b"".join(parts)
    assert read_all(bucket, "documents/a") == b"".join(parts)
    assert list(bucket.unfinished("")) == []


def test_an_upload_that_fails_leaves_nothing(bucket: Bucket) -> None:
    class ScannerJammedError(Exception):
        pass

    with pytest.raises(ScannerJammedError), bucket.start_parts("documents/a") as upload:  # noqa: PT012
        upload.add(bytes(PART_BYTES_MIN))
        assert [u.name for u in bucket.unfinished("documents/")] == ["documents/a"]
        raise ScannerJammedError
    assert list(bucket.unfinished("")) == []
    assert list(bucket.versions("")) == []
    upload.abort()


def test_the_order_of_an_upload_is_enforced(versioned: Bucket) -> None:
    with versioned.start_parts("documents/a") as upload:
        with pytest.raises(ValueError, match="without a part"):
            upload.complete()
        upload.add(b"short")
        with pytest.raises(ValueError, match="No part can follow"):
            upload.add(b"more")
        upload.complete()
        ends: tuple[Callable[[], None], ...] = (upload.complete, lambda: upload.add(b"x"))
        for after_the_end in ends:
            with pytest.raises(ValueError, match="over"):
                after_the_end()
        upload.abort()
    assert versioned.get("documents/a", limit=10) == b"short"


def test_unfinished_uploads_are_listed_and_aborted(object_store: ObjectStore, bucket: Bucket) -> None:
    uploads = [bucket.start_parts(f"documents/{n}") for n in range(3)]
    other = bucket.start_parts("records/1")
    uploads[0].add(bytes(PART_BYTES_MIN))
    listed = list(bucket.unfinished("documents/"))
    assert sorted(u.name for u in listed) == ["documents/0", "documents/1", "documents/2"]
    now = datetime.now(UTC)
    if object_store.kind != "moto":  # there every upload began in 2010
        assert all(abs(u.started - now) < timedelta(minutes=1) for u in listed)

    long_ago = datetime(2009, 1, 1, tzinfo=UTC)
    assert bucket.abort_unfinished("documents/", older_than=long_ago) == 0
    assert len(list(bucket.unfinished("documents/"))) == 3
    assert bucket.abort_unfinished("documents/", older_than=now + timedelta(hours=1)) == 3
    assert bucket.abort_unfinished("documents/", older_than=None) == 0
    assert [u.name for u in bucket.unfinished("")] == ["records/1"]

    if object_store.kind != "moto":  # there it is a KeyError
        with pytest.raises(ObjectNotFound):
            uploads[0].add(bytes(PART_BYTES_MIN))
    for upload in uploads:
        upload.abort()
    other.abort()
    assert list(bucket.unfinished("")) == []


# Deletion


def test_overwriting_and_deleting_leave_versions_and_deletion_leaves_none(
    object_store: ObjectStore, versioned: Bucket
) -> None:
    for n in range(3):
        versioned.put("documents/a", b"version %d" % n)
    versioned.put("documents/ab", b"a name that goes on")
    versioned.put("documents/a/b", b"a name below")
    mark_deleted(versioned, object_store, "documents/a")
    versioned.put("documents/a", b"again")
    mark_deleted(versioned, object_store, "documents/a")
    kept = {v for v in versioned.versions("documents/") if v.name != "documents/a"}
    before = [v for v in versioned.versions("documents/a") if v.name == "documents/a"]
    assert sorted(v.is_delete_marker for v in before) == [False] * 4 + [True] * 2
    assert "documents/a" not in set(versioned.names("documents/"))

    through: list[int] = []
    assert versioned.delete_every_version(["documents/a"], done=through.append) == 6
    assert through == [1]
    assert set(versioned.versions("")) == kept
    assert len(kept) == 2
    assert versioned.delete_every_version(["documents/a"]) == 0
    assert versioned.get("documents/ab", limit=100) == b"a name that goes on"
    assert versioned.get("documents/a/b", limit=100) == b"a name below"


def test_deletion_in_a_bucket_that_never_had_versions(object_store: ObjectStore) -> None:
    bucket = object_store.bucket()
    bucket.ensure(versioned=False)
    bucket.put("documents/a", b"1")
    bucket.put("documents/a", b"2")
    bucket.put("documents/b", b"3")
    assert bucket.delete_every_version(["documents/a", "documents/none"]) == 1
    assert [v.name for v in bucket.versions("")] == ["documents/b"]
    assert list(bucket.names("")) == ["documents/b"]
    assert bucket.delete_every_version(["documents/a"]) == 0


def test_deletion_reaches_versions_from_before_during_and_after_versioning(object_store: ObjectStore) -> None:
    bucket = object_store.bucket()
    bucket.ensure(versioned=False)
    bucket.put("documents/a", b"before")
    bucket.ensure(versioned=True)
    bucket.put("documents/a", b"during")
    suspend_versioning(bucket, object_store)
    bucket.put("documents/a", b"after")
    bucket.put("documents/a", b"after that")
    there = list(bucket.versions("documents/a"))
    if object_store.kind != "moto":  # moto drops the older versions when versioning is suspended
        assert len(there) == 2
    assert bucket.delete_every_version(["documents/a"]) == len(there) > 0
    assert list(bucket.versions("")) == []
    assert list(bucket.names("")) == []
    with pytest.raises(ObjectNotFound):
        bucket.size("documents/a")


def test_deletion_of_many_names_and_many_versions(versioned: Bucket) -> None:
    names = [f"documents/{secrets.token_hex(16)}" for _ in range(60)]
    for name in names:
        versioned.put(name, b"1")
        versioned.put(name, b"2")
    kept, dead = names[:5], names[5:]

    def twice() -> Iterator[str]:
        yield from dead
        yield from dead

    assert versioned.delete_every_version(twice()) == 2 * len(dead)
    assert sorted(versioned.names("documents/")) == sorted(kept)
    assert {v.name for v in versioned.versions("")} == set(kept)


def test_deletion_of_nothing(versioned: Bucket) -> None:
    assert versioned.delete_every_version([]) == 0


def mark_deleted(bucket: Bucket, store: ObjectStore, name: str) -> None:
    """What other programs do when they delete: in a versioned bucket that only adds a marker."""
    bucket._s3.delete_object(Bucket=store.settings.bucket, Key=name)


def suspend_versioning(bucket: Bucket, store: ObjectStore) -> None:
    bucket._s3.put_bucket_versioning(Bucket=store.settings.bucket, VersioningConfiguration={"Status": "Suspended"})


# Listing


def test_names_beyond_one_page(object_store: ObjectStore) -> None:
    bucket = object_store.bucket()
    bucket.ensure(versioned=False)
    names = {f"documents/{n:05}" for n in range(1003)}
    store_many(bucket, names)
    bucket.put("records/1", b"")
    assert set(bucket.names("documents/")) == names
    assert len(list(bucket.names("documents/"))) == len(names), "none comes twice"
    assert {v.name for v in bucket.versions("documents/")} == names
    assert list(bucket.names("rec")) == ["records/1"]
    assert list(bucket.names("nothing/")) == []
    if object_store.kind != "moto":  # it looks at all objects for each name: minutes
        dead, through = sorted(names)[:501], list[int]()
        assert bucket.delete_every_version(dead, done=through.append) == len(dead)
        assert through == [500, 1], "in batches"
        assert set(bucket.names("")) == names - set(dead) | {"records/1"}


def store_many(bucket: Bucket, names: set[str]) -> None:
    waiting, lock = list(names), threading.Lock()

    def work() -> None:
        while True:
            with lock:
                if not waiting:
                    return
                name = waiting.pop()
            bucket.put(name, b"x")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not waiting


# Who we are


def test_wrong_credentials_are_refused(real_store: ObjectStore) -> None:
    honest = real_store.bucket()
    honest.ensure()
    honest.put("documents/a", b"x")
    for change in ({"secret_key": SecretStr("guessed-secret")}, {"access_key": "nobody"}):
        stranger = real_store.bucket(**change)
        with pytest.raises(ObjectStoreDenied):
            stranger.check()
        with pytest.raises(ObjectStoreDenied):
            stranger.ensure()
        with pytest.raises(ObjectStoreDenied):
            stranger.get("documents/a", limit=1)
        with pytest.raises(ObjectStoreDenied):
            stranger.size("documents/a")
        with pytest.raises(ObjectStoreDenied):
            list(stranger.names(""))
        with pytest.raises(ObjectStoreDenied) as refused:
            stranger.put("documents/a", b"y")
        assert "guessed-secret" not in str(refused.value)
        with pytest.raises(ObjectStoreDenied):
            stranger.delete_every_version(["documents/a"])
    assert honest.get("documents/a", limit=1) == b"x"


def test_settings_do_not_show_the_secret(real_store: ObjectStore) -> None:
    assert real_store.settings.secret_key.get_secret_value() not in repr(real_store.settings)


def test_the_environment_and_the_home_directory_have_no_say(
    real_store: ObjectStore, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home = tmp_path_factory.mktemp("home")
    (home / ".aws").mkdir()
    (home / ".aws" / "config").write_text(
        "[default]\nendpoint_url = http://127.0.0.1:9\ns3 =\n  addressing_style = virtual\n"
    )
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("AWS_PROFILE", "somebody-else")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    bucket = real_store.bucket()
    bucket.ensure()
    bucket.put("documents/a", b"x")
    assert bucket.get("documents/a", limit=1) == b"x"


def test_without_credentials_of_its_own_the_identity_of_the_process_is_used(
    seaweedfs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = settings(seaweedfs)
    bucket = Bucket(known)
    bucket.ensure(versioned=True)
    bucket.put("a", b"content")
    bucket.close()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", known.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", known.secret_key.get_secret_value())
    nameless = replace(known, access_key="", secret_key=SecretStr(""))
    bucket = Bucket(nameless)
    assert bucket.get("a", limit=100) == b"content"
    bucket.close()
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    bucket = Bucket(nameless)
    with pytest.raises(ObjectStoreDenied):
        bucket.get("a", limit=100)
    bucket.close()
