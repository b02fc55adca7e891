"""Object lock, and deletion while others write: on moto and on a real SeaweedFS server.

moto cannot be asked for a version's retention (it answers 500), so retentions are tried on the server only.
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.services.object_stores import ObjectStore
from tests.vault.memory_s3 import MemoryBucket, MemoryS3
from vault.objects import (
    PART_BYTES_MIN,
    Bucket,
    Locked,
    ObjectExists,
    ObjectLocked,
    ObjectStoreDenied,
    ObjectStoreMisbehaved,
)
from vault.objects.bucket import ROUNDS_MAX

DIGEST = {"ChecksumAlgorithm": "CRC32"}  # what comes with a lock comes with a digest


@pytest.fixture
def lockable(object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    bucket = object_store.bucket()
    if object_store.kind == "moto":  # its answers have no Date
        monkeypatch.setattr(bucket, "now", lambda: datetime.now(UTC))
    bucket._s3.create_bucket(Bucket=object_store.settings.bucket, ObjectLockEnabledForBucket=True)
    return bucket


@pytest.fixture
def retaining(real_store: ObjectStore) -> Bucket:
    bucket = real_store.bucket()
    bucket._s3.create_bucket(Bucket=real_store.settings.bucket, ObjectLockEnabledForBucket=True)
    return bucket


@pytest.fixture
def versioned(object_store: ObjectStore) -> Bucket:
    bucket = object_store.bucket()
    bucket.ensure()
    return bucket


def put_locked(bucket: Bucket, name: str, **lock: Any) -> str:
    return str(bucket._s3.put_object(Bucket=bucket._name, Key=name, Body=b"x", **DIGEST, **lock)["VersionId"])


def retention(until: datetime, mode: str = "COMPLIANCE") -> dict[str, Any]:
    return {"ObjectLockMode": mode, "ObjectLockRetainUntilDate": until}


def there(bucket: Bucket) -> set[tuple[str, str]]:
    return {version[:2] for version in bucket.versions("")}


def tomorrow() -> datetime:
    return (datetime.now(UTC) + timedelta(days=1)).replace(microsecond=0)


@pytest.mark.parametrize("mode", ["GOVERNANCE", "COMPLIANCE"])
def test_what_is_retained_stays_and_is_named_and_all_else_goes(retaining: Bucket, mode: str) -> None:
    until = tomorrow()
    retaining.put("documents/a", b"older and free")
    kept = put_locked(retaining, "documents/a", **retention(until, mode))
    retaining._s3.delete_object(Bucket=retaining._name, Key="documents/a")
    retaining.put("documents/free", b"x")
    retaining.put("documents/other", b"not to be deleted")

    gone, locked = retaining.delete_unlocked(["documents/a", "documents/free"])

    assert (gone, locked) == (3, [Locked("documents/a", kept, until)])
    assert there(retaining) == {("documents/a", kept), *((n, v) for n, v in there(retaining) if n == "documents/other")}
    assert len(there(retaining)) == 2
    assert retaining.delete_unlocked(["documents/a", "documents/free"]) == (0, locked)
    with pytest.raises(ObjectLocked, match="1 versions"):
        retaining.delete_every_version(["documents/a"])
    assert len(there(retaining)) == 2


def test_a_legal_hold_keeps_a_version_until_it_is_taken_off(lockable: Bucket) -> None:
    kept = put_locked(lockable, "documents/a", ObjectLockLegalHoldStatus="ON")
    assert lockable.delete_unlocked(["documents/a"]) == (0, [Locked("documents/a", kept, None)])
    assert there(lockable) == {("documents/a", kept)}
    lockable._s3.put_object_legal_hold(  # type: ignore[attr-defined]  # only an administrator calls it
        Bucket=lockable._name, Key="documents/a", VersionId=kept, LegalHold={"Status": "OFF"}
    )
    assert lockable.delete_unlocked(["documents/a"]) == (1, [])
    assert there(lockable) == set()


def test_a_retention_that_is_over_keeps_nothing(lockable: Bucket) -> None:
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=2)
    put_locked(lockable, "documents/a", **retention(until))
    while lockable.now() <= until + timedelta(seconds=1):
        time.sleep(0.1)
    assert lockable.delete_unlocked(["documents/a"]) == (1, [])
    assert there(lockable) == set()


def test_a_bucket_with_default_retention_takes_objects_and_keeps_them(retaining: Bucket) -> None:
    bucket = retaining
    bucket._s3.put_object_lock_configuration(  # type: ignore[attr-defined]  # only an administrator calls it
        Bucket=bucket._name,
        ObjectLockConfiguration={
            "ObjectLockEnabled": "Enabled",
            "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}},
        },
    )
    bucket.put("documents/a", b"in one request")
    with bucket.start_parts("documents/b") as upload:
        upload.add(bytes(PART_BYTES_MIN))
        upload.add(b"in parts")
        upload.complete()
    unfinished = bucket.start_parts("documents/c")
    unfinished.add(bytes(PART_BYTES_MIN))

    assert bucket.abort_unfinished("documents/", older_than=None, names={"documents/c"}) == 1, "parts are not locked"
    gone, locked = bucket.delete_unlocked(["documents/a", "documents/b", "documents/c"])

    assert gone == 0
    assert {lock.name for lock in locked} == {"documents/a", "documents/b"}
    day = datetime.now(UTC) + timedelta(days=1)
    assert all(lock.until and abs(lock.until - day) < timedelta(minutes=10) for lock in locked)


def test_aws_wants_a_digest_where_it_locks_by_default() -> None:
    """AWS refuses what comes without one (InvalidRequest); SeaweedFS and moto do not."""
    s3 = MemoryS3()
    s3.default_retention = timedelta(days=1)
    bucket = MemoryBucket(s3)
    bucket.put("documents/a", b"in one request", if_absent=True)
    with bucket.start_parts("documents/b") as upload:
        upload.add(memoryview(b"in parts"))
        upload.complete()
    assert s3.current("documents/a") == b"in one request"
    assert s3.current("documents/b") == b"in parts"
    assert {lock.name for lock in bucket.delete_unlocked(["documents/a", "documents/b"]).locked} == {
        "documents/a",
        "documents/b",
    }


class Denying(MemoryS3):
    """Denies the deletion of one name, as a bucket policy may; everything else of the request is done."""

    def delete_objects(self, **request: Any) -> dict[str, Any]:
        targets = request["Delete"]["Objects"]
        allowed = [target for target in targets if target["Key"] != "documents/denied"]
        answer = super().delete_objects(Delete={"Objects": allowed})
        denied = [{**target, "Code": "AccessDenied"} for target in targets if target not in allowed]
        return {"Errors": [*answer.get("Errors", ()), *denied]}


def test_a_want_of_permission_is_not_taken_for_a_lock() -> None:
    s3 = Denying()
    bucket = MemoryBucket(s3)
    bucket.put("documents/a", b"x")
    assert bucket.delete_unlocked(["documents/a"]) == (1, [])
    bucket.put("documents/denied", b"x")
    with pytest.raises(ObjectStoreDenied, match="does not let us delete 1 versions"):
        bucket.delete_unlocked(["documents/denied"])
    ((name, version),) = there(bucket)
    # A retention that was over long ago is no excuse either.
    s3.locks[name, version] = s3.now() - timedelta(hours=1)
    with pytest.raises(ObjectStoreDenied):
        bucket.delete_unlocked(["documents/denied"])
    assert there(bucket) == {(name, version)}


# Others who write meanwhile


class Meddled:
    """The client, with something done in between before each deletion."""

    def __init__(self, s3: Any, meddle: Callable[[], object]) -> None:
        self._s3 = s3
        self._meddle = meddle

    def __getattr__(self, name: str) -> Any:
        return getattr(self._s3, name)

    def delete_objects(self, **request: Any) -> Any:
        self._meddle()
        return self._s3.delete_objects(**request)


def test_a_version_that_comes_between_listing_and_deleting_goes_too(versioned: Bucket) -> None:
    versioned.put("documents/a", b"1")
    late = [b"2", b"3"]
    real = versioned._s3

    def meddle() -> None:
        if late:
            real.put_object(Bucket=versioned._name, Key="documents/a", Body=late.pop())

    versioned._s3 = Meddled(real, meddle)
    assert versioned.delete_every_version(["documents/a"]) == 3
    assert there(versioned) == set()


def test_somebody_who_goes_on_writing_is_named(versioned: Bucket) -> None:
    versioned.put("documents/a", b"1")
    real, writes = versioned._s3, list[int]()

    def meddle() -> None:
        writes.append(1)
        real.put_object(Bucket=versioned._name, Key="documents/a", Body=b"again")

    versioned._s3 = Meddled(real, meddle)
    with pytest.raises(ObjectStoreMisbehaved, match="goes on writing"):
        versioned.delete_every_version(["documents/a"])
    assert len(writes) == ROUNDS_MAX
    versioned._s3 = real
    assert versioned.delete_every_version(["documents/a"]) == 1
    assert there(versioned) == set()


def test_more_versions_than_a_page_or_a_request_takes(versioned: Bucket) -> None:
    for n in range(1001):
        versioned.put("documents/a", b"%d" % n)
        if n % 100 == 0:
            versioned._s3.delete_object(Bucket=versioned._name, Key="documents/a")
    assert len(list(versioned.versions(""))) == 1012
    assert versioned.delete_every_version(["documents/a"]) == 1012
    assert there(versioned) == set()


# Create only if absent, in parts


def test_parts_become_an_object_only_where_there_is_none(versioned: Bucket) -> None:
    with versioned.start_parts("keystore/a") as upload:
        upload.add(b"first")
        upload.complete(if_absent=True)
    with pytest.raises(ObjectExists), versioned.start_parts("keystore/a") as upload:  # noqa: PT012
        upload.add(b"second")
        upload.complete(if_absent=True)
    assert versioned.get("keystore/a", limit=10) == b"first"
    assert len(there(versioned)) == 1
    assert list(versioned.unfinished("")) == []


def test_of_racing_completions_at_most_one_wins(real_store: ObjectStore) -> None:
    bucket = real_store.bucket()
    bucket.ensure()
    for round_number in range(3):
        name, start, won = f"keystore/{round_number}", threading.Barrier(2), list[bytes]()

        def create(body: bytes, name: str = name, start: threading.Barrier = start, won: list[bytes] = won) -> None:
            with bucket.start_parts(name) as upload:
                upload.add(body)
                start.wait(10)
                with suppress(ObjectExists):
                    upload.complete(if_absent=True)
                    won.append(body)

        threads = [threading.Thread(target=create, args=(b"body %d" % n,)) for n in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert len(won) <= 1
        assert len(list(bucket.versions(name))) == len(won)
        if not won:  # each saw the other and took its own back: the name is free again
            won = []
            create(b"alone", name, threading.Barrier(1), won)
        assert [bucket.get(name, limit=100)] == won
    assert list(bucket.unfinished("")) == []


def test_a_store_that_cannot_do_that_is_asked_beforehand() -> None:
    s3 = MemoryS3()
    s3.knows_conditional_completion = False
    bucket = MemoryBucket(s3)
    with bucket.start_parts("keystore/a") as upload:
        upload.add(b"first")
        upload.complete(if_absent=True)
    with pytest.raises(ObjectExists), bucket.start_parts("keystore/a") as upload:  # noqa: PT012
        upload.add(b"second")
        upload.complete(if_absent=True)
    assert s3.current("keystore/a") == b"first"
    assert not s3.unfinished
