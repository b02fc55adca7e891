"""Objects uploaded in parts: nothing of them is to be seen under their name until they are complete."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Final, Self

from .bodies import Body
from .client import S3
from .errors import ObjectExists, ObjectNotFound, ObjectStoreError, ObjectStoreUnable, wall
from .sending import Sending

__all__ = ["PART_BYTES_MIN", "PartedUpload", "Unfinished"]

PART_BYTES_MIN: Final = 5 * 1024 * 1024
"""Every part but the last has at least this length (S3's rule; SeaweedFS keeps it too)."""
PARTS_MAX: Final = 10_000


@dataclass(frozen=True)
class Unfinished:
    """An upload in parts that was neither completed nor aborted: its parts lie in no listing."""

    name: str
    upload_id: str
    started: datetime


class PartedUpload:
    """One upload in parts; for one thread. As a context manager it aborts unless `complete` was reached.

    Legal order: `add` once or more, then `complete` or `abort`. Anything else is our own mistake and raises
    ValueError.
    """

    def __init__(self, s3: S3, s3_once: S3, send: Sending, bucket: str, name: str) -> None:
        self._s3 = s3
        self._s3_once = s3_once
        self._send = send
        self._target: dict[str, object] = {"Bucket": bucket, "Key": name}
        self._parts: list[dict[str, object]] = []
        self._short = False
        self._over = False
        with wall():
            begun = s3.create_multipart_upload(**self._target, ContentType="application/octet-stream")
            self._target["UploadId"] = begun["UploadId"]

    def add(self, buffer: Body) -> None:
        """Send the next part; `buffer` may be reused afterwards.

        Raises: ValueError for a part after a short one (under `PART_BYTES_MIN`), after the end, or past
        `PARTS_MAX`. ObjectNotFound when the upload was aborted by somebody else. ObjectStoreUnavailable,
        ObjectStoreDenied.
        """
        self._must_be_running()
        if self._short or len(self._parts) == PARTS_MAX:
            raise ValueError("No part can follow: the last one was short, or there are 10,000 of them.")
        number = len(self._parts) + 1
        answer = self._send(self._s3.upload_part, buffer, {**self._target, "PartNumber": number})
        self._parts.append({"PartNumber": number, "ETag": answer["ETag"]})
        self._short = memoryview(buffer).nbytes < PART_BYTES_MIN

    def complete(self, *, if_absent: bool = False) -> None:
        """Make the object out of its parts. With `if_absent` sent once, as `Bucket.put`.

        A store that cannot make this conditional is asked beforehand whether the name is taken. SeaweedFS and such a
        store can let two in that complete at once; so whoever then finds another version beside its own takes its
        own back. Both may, so a name can stay free; it never stands for two objects that both count. Without
        versions of objects that is not seen.

        Raises: as `add`; ObjectExists when `if_absent` and the name is taken. After ObjectStoreUnavailable or
        ObjectNotFound the object may exist: an answer may have been lost on the way. Upload again under a new name
        and delete this one.
        """
        self._must_be_running()
        if not self._parts:
            raise ValueError("An upload without a part cannot be completed.")
        request = {**self._target, "MultipartUpload": {"Parts": self._parts}}
        if if_absent:
            self._complete_if_absent(request)
        else:
            with wall():
                self._s3.complete_multipart_upload(**request)
        self._over = True

    def abort(self) -> None:
        """Throw the parts away; nothing happens if that, or `complete`, was done before."""
        if self._over:
            return
        with suppress(ObjectNotFound), wall():
            self._s3.abort_multipart_upload(**self._target)
        self._over = True

    def _complete_if_absent(self, request: dict[str, object]) -> None:
        message = "An object of this name is already in the bucket."
        place = {"Bucket": request["Bucket"], "Key": request["Key"]}
        try:
            with wall():
                answer = self._s3_once.complete_multipart_upload(**request, IfNoneMatch="*")
        except ObjectStoreUnable:
            with suppress(ObjectNotFound):
                with wall():
                    self._s3.head_object(**place)
                raise ObjectExists(message) from None
            with wall():
                answer = self._s3_once.complete_multipart_upload(**request)
        ours = answer.get("VersionId")
        if ours and self._has_rival(place, ours):
            # This very version, so that no marker is left and the other is current again.
            with wall():
                self._s3.delete_object(**place, VersionId=ours)
            self._over = True
            raise ObjectExists(message)

    def _has_rival(self, place: dict[str, object], ours: str) -> bool:
        with wall():
            pages = list(
                self._s3.get_paginator("list_object_versions").paginate(Bucket=place["Bucket"], Prefix=place["Key"])
            )
        # What lies under a delete marker was there before and does not count.
        here = [entry for page in pages for entry in page.get("Versions", ()) if entry["Key"] == place["Key"]]
        markers = [entry for page in pages for entry in page.get("DeleteMarkers", ()) if entry["Key"] == place["Key"]]
        return not markers and any(entry["VersionId"] != ours for entry in here)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        # What ended the block is worth more than a failed abort, which `abort_unfinished` makes good.
        with suppress(ObjectStoreError):
            self.abort()

    def _must_be_running(self) -> None:
        if self._over:
            raise ValueError("This upload is over.")
