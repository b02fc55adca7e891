"""Objects uploaded in parts: nothing of them is to be seen under their name until they are complete."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Final, Self

from vault.objects.bodies import Body, outgoing
from vault.objects.client import S3
from vault.objects.errors import ObjectNotFound, ObjectStoreError, wall

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

    def __init__(self, s3: S3, bucket: str, name: str) -> None:
        self._s3 = s3
        self._target = {"Bucket": bucket, "Key": name}
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
        body, number = outgoing(buffer), len(self._parts) + 1
        with wall():
            answer = self._s3.upload_part(**self._target, PartNumber=number, Body=body)
        self._parts.append({"PartNumber": number, "ETag": answer["ETag"]})
        self._short = memoryview(buffer).nbytes < PART_BYTES_MIN

    def complete(self) -> None:
        """Make the object out of its parts.

        Raises: as `add`. After ObjectStoreUnavailable or ObjectNotFound the object may exist: an answer may
        have been lost on the way. Upload again under a new name and delete this one.
        """
        self._must_be_running()
        if not self._parts:
            raise ValueError("An upload without a part cannot be completed.")
        with wall():
            self._s3.complete_multipart_upload(**self._target, MultipartUpload={"Parts": self._parts})
        self._over = True

    def abort(self) -> None:
        """Throw the parts away; nothing happens if that, or `complete`, was done before."""
        if self._over:
            return
        with suppress(ObjectNotFound), wall():
            self._s3.abort_multipart_upload(**self._target)
        self._over = True

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
