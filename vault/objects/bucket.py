"""The bucket: the calls, none of which knows what the objects mean."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Final, NamedTuple

from vault.objects.bodies import Body, ObjectReader, outgoing
from vault.objects.client import Answer, BucketSettings, clients
from vault.objects.errors import (
    BucketMissing,
    ObjectNotFound,
    ObjectStoreError,
    ObjectStoreMisbehaved,
    refusal,
    wall,
)
from vault.objects.parts import PartedUpload, Unfinished

__all__ = ["Bucket", "Version"]

DELETIONS_PER_REQUEST_MAX: Final = 1000
NAMES_PER_BATCH: Final = 500
LISTING_THREADS: Final = 8
_REGION_WITHOUT_CONSTRAINT: Final = "us-east-1"


class Version(NamedTuple):
    """One version of an object, or one delete marker. Without versioning the id is `null`."""

    name: str
    version_id: str
    is_delete_marker: bool


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
        data = outgoing(body)
        request: dict[str, object] = {
            "Bucket": self._name,
            "Key": name,
            "Body": data,
            "ContentType": "application/octet-stream",
        }
        with wall():
            if if_absent:
                self._s3_once.put_object(**request, IfNoneMatch="*")
            else:
                self._s3.put_object(**request)

    def start_parts(self, name: str) -> PartedUpload:
        """Begin an upload in parts, for objects longer than one part or of unknown length."""
        return PartedUpload(self._s3, self._name, name)

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

    def names_older_than(self, prefix: str, moment: datetime) -> Iterator[str]:
        """Names of the current objects that begin with `prefix` and were stored before `moment` (the store's clock)."""
        for page in self._pages("list_objects_v2", prefix):
            for entry in page.get("Contents", ()):
                if entry["LastModified"] < moment:
                    yield entry["Key"]

    def versions(self, prefix: str) -> Iterator[Version]:
        """Every version and every delete marker of every name that begins with `prefix`."""
        for page in self._pages("list_object_versions", prefix):
            for kind, is_marker in (("Versions", False), ("DeleteMarkers", True)):
                for entry in page.get(kind, ()):
                    yield Version(entry["Key"], entry.get("VersionId") or "null", is_marker)

    def delete_every_version(self, names: Iterable[str], *, done: Callable[[int], object] = lambda _names: None) -> int:
        """Delete every version and delete marker of exactly these names; how many there were.

        Finished when it has been read back that nothing is left of a batch; `done` is then called with the
        number of names that are through. Safe to repeat. Unfinished uploads are not versions: see
        `abort_unfinished`. Somebody who writes one of the names meanwhile makes it fail.

        Raises: ObjectStoreMisbehaved, with a count, when a version survives.
        """
        deleted = 0
        waiting = iter(names)
        with ThreadPoolExecutor(LISTING_THREADS, thread_name_prefix="list-versions") as threads:

            def versions_of(batch: Iterable[str]) -> list[Version]:
                return [version for found in threads.map(self._versions_of, batch) for version in found]

            while batch := list(dict.fromkeys(itertools.islice(waiting, NAMES_PER_BATCH))):
                found = versions_of(batch)
                for start in range(0, len(found), DELETIONS_PER_REQUEST_MAX):
                    self._delete(found[start : start + DELETIONS_PER_REQUEST_MAX])
                if found and (left := versions_of(batch)):
                    raise ObjectStoreMisbehaved(f"{len(left)} of {len(found)} versions are there after their deletion.")
                deleted += len(found)
                done(len(batch))
        return deleted

    def unfinished(self, prefix: str) -> Iterator[Unfinished]:
        """Uploads in parts under `prefix` that are neither complete nor aborted."""
        for page in self._pages("list_multipart_uploads", prefix):
            for entry in page.get("Uploads", ()):
                if entry["Key"].startswith(prefix):
                    yield Unfinished(entry["Key"], entry["UploadId"], entry["Initiated"])

    def abort_unfinished(self, prefix: str, *, older_than: datetime | None) -> int:
        """Abort the unfinished uploads under `prefix` that began before `older_than` (None: all); how many.

        Safe to repeat.

        Raises: ObjectStoreMisbehaved, with a count, when one is still listed afterwards (a part was being
        sent).
        """
        chosen = {u for u in self.unfinished(prefix) if older_than is None or u.started < older_than}
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

    def _delete(self, versions: list[Version]) -> None:
        """Delete up to 1000 versions. What was already gone counts as deleted, here and at S3."""
        targets = [{"Key": v.name, "VersionId": v.version_id} for v in versions]
        with wall():
            answer = self._s3.delete_objects(Bucket=self._name, Delete={"Objects": targets, "Quiet": True})
        for failure in answer.get("Errors", ()):
            error: ObjectStoreError = refusal(str(failure.get("Code", "")), status=0)
            if not isinstance(error, ObjectNotFound):
                raise error

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
