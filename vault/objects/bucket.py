"""The bucket: the calls, none of which knows what the objects mean."""

import itertools
from collections.abc import Callable, Container, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Final, NamedTuple

from .bodies import PUT_BYTES_MAX, Body, ObjectReader
from .client import Answer, BucketSettings, clients
from .errors import (
    BucketMissing,
    ObjectLocked,
    ObjectNotFound,
    ObjectStoreDenied,
    ObjectStoreError,
    ObjectStoreMisbehaved,
    refusal,
    wall,
)
from .locks import LOCK_CODES, Deletion, Locked, lock_of
from .parts import PartedUpload, Unfinished
from .sending import Sending

__all__ = ["Bucket", "Version"]

DELETIONS_PER_REQUEST_MAX: Final = 1000
NAMES_PER_BATCH: Final = 500
ROUNDS_MAX: Final = 5
"""How often a batch is listed and deleted again because somebody writes its names meanwhile."""
LISTING_THREADS: Final = 8
_REGION_WITHOUT_CONSTRAINT: Final = "us-east-1"


class Version(NamedTuple):
    """One version of an object, or one delete marker. Without versioning the id is `null`."""

    name: str
    version_id: str
    is_delete_marker: bool
    stored: datetime


class Bucket:
    """One bucket with its own connections. May be shared by threads.

    Every method raises ObjectStoreUnavailable, ObjectStoreDenied, BucketMissing and ObjectStoreMisbehaved;
    `Raises:` names what a method raises beyond these. A call ends after `attempts` tries of the two timeouts
    each, and pauses between.
    """

    def __init__(self, settings: BucketSettings) -> None:
        self._name = settings.bucket
        self._region = settings.region
        self._s3, self._s3_once = clients(settings)
        self._send = Sending()

    def close(self) -> None:
        """Close the connections."""
        self._s3.close()
        self._s3_once.close()

    def ensure(self, *, versioned: bool = True) -> None:
        """Create the bucket if it is absent, turn versioning on if asked, and read that back."""
        try:
            self.check()
        except BucketMissing:
            self._create()
        if versioned and self._versioning() != "Enabled":
            with wall():
                self._s3.put_bucket_versioning(Bucket=self._name, VersioningConfiguration={"Status": "Enabled"})
            if self._versioning() != "Enabled":
                raise ObjectStoreMisbehaved("Versioning of the bucket was turned on and is not on.")

    def check(self) -> None:
        """One small request that tells whether the store answers, knows us and has the bucket."""
        try:
            with wall():
                self._s3.head_bucket(Bucket=self._name)
        except ObjectNotFound as error:
            raise BucketMissing("The bucket is not there.") from error

    def put(self, name: str, body: Body, *, if_absent: bool = False) -> None:
        """Store `body` in one request, uncopied; it must not change meanwhile. At most `PUT_BYTES_MAX` bytes.

        With `if_absent` the request is sent once and not tried again: a second try whose first answer was
        lost would meet its own object and call it somebody else's. After ObjectStoreUnavailable the caller
        decides.

        Raises: ObjectExists when `if_absent` and the name is taken. ValueError when the body is too long.
        """
        request: dict[str, object] = {"Bucket": self._name, "Key": name, "ContentType": "application/octet-stream"}
        if if_absent:
            self._send(self._s3_once.put_object, body, {**request, "IfNoneMatch": "*"})
        else:
            self._send(self._s3.put_object, body, request)

    def put_new(self, name: str, body: bytes | bytearray) -> None:
        """Store `body`, of any length, under a name that nothing has; in parts where it does not go in one request.

        Raises: ObjectExists when the name is taken.
        """
        if len(body) <= PUT_BYTES_MAX:
            self.put(name, body, if_absent=True)
            return
        with memoryview(body) as view, self.start_parts(name) as upload:
            for start in range(0, len(body), PUT_BYTES_MAX):
                upload.add(view[start : start + PUT_BYTES_MAX])
            upload.complete(if_absent=True)

    def start_parts(self, name: str) -> PartedUpload:
        """Begin an upload in parts, for objects longer than one part or of unknown length."""
        return PartedUpload(self._s3, self._s3_once, self._send, self._name, name)

    def open(self, name: str) -> ObjectReader:
        """Begin to read an object; to be used in a `with`. A break in the middle is not tried again.

        Raises: ObjectNotFound.
        """
        with wall():
            answer = self._s3.get_object(Bucket=self._name, Key=name)
        return ObjectReader(answer["Body"], int(answer["ContentLength"]))

    def get(self, name: str, *, limit: int) -> bytes:
        """The whole object, at most `limit` bytes of it; a longer one is refused before it is read.

        Raises: ObjectNotFound. ObjectStoreMisbehaved when the object is longer than `limit`.
        """
        with self.open(name) as reader:
            if reader.size > limit:
                raise ObjectStoreMisbehaved("The object is longer than anything that belongs under such a name.")
            content = bytearray(reader.size)
            view, at = memoryview(content), 0
            while at < reader.size:
                at += reader.read_into(view[at:])
        return bytes(content)

    def size(self, name: str) -> int:
        """Length of the object in bytes. Raises: ObjectNotFound."""
        try:
            with wall():
                return int(self._s3.head_object(Bucket=self._name, Key=name)["ContentLength"])
        except ObjectNotFound:
            self.check()  # HEAD says 404 for both: no such object, no such bucket
            raise

    def names(self, prefix: str, *, after: str = "") -> Iterator[str]:
        """Names of the current objects that begin with `prefix`, in order, while they are fetched page by page.

        With `after`, only those that come later in that order.
        """
        for page in self._pages("list_objects_v2", prefix, after=after):
            for entry in page.get("Contents", ()):
                yield entry["Key"]

    def now(self) -> datetime:
        """The store's own clock, from the `Date` of an answer; to compare with what it says of its objects."""
        with wall():
            answer = self._s3.head_bucket(Bucket=self._name)
        return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])

    def versions(self, prefix: str) -> Iterator[Version]:
        """Every version and every delete marker of every name that begins with `prefix`."""
        for page in self._pages("list_object_versions", prefix):
            for kind, is_marker in (("Versions", False), ("DeleteMarkers", True)):
                for entry in page.get(kind, ()):
                    yield Version(entry["Key"], entry.get("VersionId") or "null", is_marker, entry["LastModified"])

    def delete_every_version(self, names: Iterable[str], *, done: Callable[[int], object] = lambda _names: None) -> int:
        """Delete every version and delete marker of exactly these names; how many there were. See `delete_unlocked`.

        Raises: ObjectLocked, with a count, when object lock retains some; the others are gone.
        """
        gone, locked = self.delete_unlocked(names, done=done)
        if locked:
            raise ObjectLocked(f"{len(locked)} versions may not be deleted yet: the bucket's object lock retains them.")
        return gone

    def delete_unlocked(self, names: Iterable[str], *, done: Callable[[int], object] = lambda _names: None) -> Deletion:
        """Delete every version and delete marker of exactly these names, but for those that object lock retains.

        A batch is finished when it has been read back that nothing else is left of it, also nothing that somebody
        wrote meanwhile; `done` is then called with the number of names that are through. Safe to repeat. Unfinished
        uploads are not versions: see `abort_unfinished`.

        Raises: ObjectStoreDenied when a deletion is refused and no lock is the reason. ObjectStoreMisbehaved when
        a version survives its deletion, or somebody keeps writing one of the names.
        """
        gone, locked = 0, list[Locked]()
        waiting = iter(names)
        with ThreadPoolExecutor(LISTING_THREADS, thread_name_prefix="list-versions") as threads:
            while batch := list(dict.fromkeys(itertools.islice(waiting, NAMES_PER_BATCH))):
                here = self._delete_batch(threads, batch)
                gone += here.gone
                locked += here.locked
                done(len(batch))
        return Deletion(gone, locked)

    def unfinished(self, prefix: str) -> Iterator[Unfinished]:
        """Uploads in parts under `prefix` that are neither complete nor aborted."""
        for page in self._pages("list_multipart_uploads", prefix):
            for entry in page.get("Uploads", ()):
                if entry["Key"].startswith(prefix):
                    yield Unfinished(entry["Key"], entry["UploadId"], entry["Initiated"])

    def abort_unfinished(self, prefix: str, *, older_than: datetime | None, names: Container[str] | None = None) -> int:
        """Abort the unfinished uploads under `prefix` that began before `older_than` (None: all); how many.

        With `names`, only those that were to become one of them.

        Safe to repeat.

        Raises: ObjectStoreMisbehaved, with a count, when one is still listed afterwards (a part was being
        sent).
        """
        chosen = {
            upload
            for upload in self.unfinished(prefix)
            if (older_than is None or upload.started < older_than) and (names is None or upload.name in names)
        }
        for upload in chosen:
            try:
                with wall():
                    self._s3.abort_multipart_upload(Bucket=self._name, Key=upload.name, UploadId=upload.upload_id)
            except ObjectNotFound:
                continue  # completed or aborted by its owner since the listing
        if chosen and (left := {u.upload_id for u in chosen} & {u.upload_id for u in self.unfinished(prefix)}):
            raise ObjectStoreMisbehaved(
                f"{len(left)} of {len(chosen)} unfinished uploads are there after their abortion."
            )
        return len(chosen)

    def _create(self) -> None:
        request: dict[str, object] = {"Bucket": self._name}
        if self._region != _REGION_WITHOUT_CONSTRAINT:
            request["CreateBucketConfiguration"] = {"LocationConstraint": self._region}
        try:
            with wall():
                self._s3.create_bucket(**request)
        except ObjectStoreMisbehaved:
            # Somebody was quicker (stores have several codes for that), or the first try's answer was lost.
            try:
                self.check()
            except BucketMissing:
                pass
            else:
                return
            raise

    def _versioning(self) -> str | None:
        with wall():
            status = self._s3.get_bucket_versioning(Bucket=self._name).get("Status")
        return str(status) if status else None

    def _versions_of(self, name: str) -> list[Version]:
        return [version for version in self.versions(name) if version.name == name]

    def _delete_batch(self, threads: ThreadPoolExecutor, names: list[str]) -> Deletion:
        tried: set[tuple[str, str]] = set()
        locked: dict[tuple[str, str], Locked] = {}
        for _ in range(ROUNDS_MAX):
            listed = [version for found in threads.map(self._versions_of, names) for version in found]
            found = [version for version in listed if version[:2] not in locked]
            if not found:
                return Deletion(len(tried) - len(locked), list(locked.values()))
            if left := tried.intersection(version[:2] for version in found):
                raise ObjectStoreMisbehaved(f"{len(left)} of {len(tried)} versions are there after their deletion.")
            tried.update(version[:2] for version in found)
            for start in range(0, len(found), DELETIONS_PER_REQUEST_MAX):
                refused = self._delete(found[start : start + DELETIONS_PER_REQUEST_MAX])
                locked.update((lock[:2], lock) for lock in self._locks(threads, refused))
        raise ObjectStoreMisbehaved("Somebody goes on writing objects that are being deleted.")

    def _delete(self, versions: list[Version]) -> list[Version]:
        """Delete up to 1000 versions; those that a lock may retain. What was already gone counts as deleted.

        Every key of the answer is an outcome of its own.
        """
        targets = [{"Key": v.name, "VersionId": v.version_id} for v in versions]
        with wall():
            answer = self._s3.delete_objects(Bucket=self._name, Delete={"Objects": targets, "Quiet": True})
        refused: set[Version] = set()
        for failure in answer.get("Errors", ()):
            code = str(failure.get("Code", ""))
            error: ObjectStoreError = refusal(code, status=0)
            if code in LOCK_CODES:
                # Where the store does not say which version it means, those that are still there are meant.
                meant = (
                    {failure["VersionId"]}
                    if failure.get("VersionId")
                    else {v.version_id for v in self._versions_of(failure["Key"])}
                )
                refused |= {v for v in versions if v.name == failure["Key"] and v.version_id in meant}
            elif not isinstance(error, ObjectNotFound):
                raise error
        return list(refused)

    def _locks(self, threads: ThreadPoolExecutor, refused: list[Version]) -> list[Locked]:
        """The locks on versions that could not be deleted. Raises: ObjectStoreDenied when one has none."""
        if not refused:
            return []
        now = self.now()
        locks = list(threads.map(lambda v: lock_of(self._s3, self._name, v.name, v.version_id, now), refused))
        found = [lock for lock in locks if lock is not None]
        if len(found) < len(locks):
            raise ObjectStoreDenied(
                f"The object store does not let us delete {len(locks) - len(found)} versions, and no lock retains them."
            )
        return found

    def _pages(self, operation: str, prefix: str, *, after: str = "") -> Iterator[Answer]:
        # Only the fetching stands inside the wall: what a consumer raises is not the store's.
        start = {"StartAfter": after} if after else {}
        pages = iter(self._s3.get_paginator(operation).paginate(Bucket=self._name, Prefix=prefix, **start))
        while True:
            with wall():
                page = next(pages, None)
            if page is None:
                return
            yield page
