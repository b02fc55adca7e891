"""S3 in memory, below the real `Bucket`: versions, delete markers, parts; and it forgets nothing in `ever`."""

import io
import itertools
import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

from botocore.exceptions import ClientError

from vault.objects import Bucket
from vault.objects.sending import Sending

BOUNDARY_CALLS = (
    "put_object",
    "get_object",
    "create_multipart_upload",
    "upload_part",
    "complete_multipart_upload",
    "abort_multipart_upload",
    "delete_objects",
)


class MemoryS3:
    """As strict as S3 where the vault could notice. `around` is told of each call, before and after it."""

    def __init__(self) -> None:
        self.versions: dict[str, list[tuple[str, bytes | None, datetime]]] = {}
        self.unfinished: dict[str, tuple[str, datetime, dict[int, bytes]]] = {}
        self.ever: set[tuple[str, bytes]] = set()
        self.locks: dict[tuple[str, str], datetime | None] = {}
        """Retention of versions; None is a legal hold."""
        self.default_retention: timedelta | None = None
        self.ahead = timedelta()
        self.knows_conditional_completion = True
        self.around: Callable[[str, str], None] = lambda _call, _when: None
        self._numbers = itertools.count(1)
        self._lock = threading.RLock()

    def clone(self) -> "MemoryS3":
        twin = MemoryS3()
        twin.versions = {name: list(found) for name, found in self.versions.items()}
        twin.unfinished = {key: (name, at, dict(parts)) for key, (name, at, parts) in self.unfinished.items()}
        twin.ever = set(self.ever)
        twin.locks = dict(self.locks)
        twin.default_retention = self.default_retention
        twin._numbers = itertools.count(next(self._numbers) + 1_000_000)
        return twin

    def now(self) -> datetime:
        """The store's clock: the tests may set it forward."""
        return datetime.now(UTC) + self.ahead

    def current(self, name: str) -> bytes | None:
        found = self.versions.get(name)
        return found[-1][1] if found else None

    def put_object(self, **request: Any) -> dict[str, Any]:
        self._want_digest(request)
        return self._call("put_object", lambda: self._put(request["Key"], request["Body"].read(), request))

    def get_object(self, **request: Any) -> dict[str, Any]:
        def get() -> dict[str, Any]:
            content = self.current(request["Key"])
            if content is None:
                raise refused("NoSuchKey", 404)
            return {"Body": io.BytesIO(content), "ContentLength": len(content)}

        return self._call("get_object", get)

    def head_object(self, **request: Any) -> dict[str, Any]:
        content = self.current(request["Key"])
        if content is None:
            raise refused("404", 404)
        return {"ContentLength": len(content)}

    def head_bucket(self, **_: Any) -> dict[str, Any]:
        return {"ResponseMetadata": {"HTTPHeaders": {"date": format_datetime(self.now(), usegmt=True)}}}

    def get_object_legal_hold(self, **request: Any) -> dict[str, Any]:
        return self._call("get_object_legal_hold", lambda: self._legal_hold(request))

    def get_object_retention(self, **request: Any) -> dict[str, Any]:
        return self._call("get_object_retention", lambda: self._retained(request))

    def _legal_hold(self, request: dict[str, Any]) -> dict[str, Any]:
        if self._retention(request) is not None or (request["Key"], request["VersionId"]) not in self.locks:
            raise refused("NoSuchObjectLockConfiguration", 404)
        return {"LegalHold": {"Status": "ON"}}

    def _retained(self, request: dict[str, Any]) -> dict[str, Any]:
        until = self._retention(request)
        if until is None:
            raise refused("NoSuchObjectLockConfiguration", 404)
        return {"Retention": {"Mode": "COMPLIANCE", "RetainUntilDate": until}}

    def create_bucket(self, **_: Any) -> dict[str, Any]:
        return {}

    def get_bucket_versioning(self, **_: Any) -> dict[str, Any]:
        return {"Status": "Enabled"}

    def put_bucket_versioning(self, **_: Any) -> dict[str, Any]:
        return {}

    def create_multipart_upload(self, **request: Any) -> dict[str, Any]:
        def create() -> dict[str, Any]:
            upload = f"u{next(self._numbers)}"
            self.unfinished[upload] = (request["Key"], self.now(), {})
            return {"UploadId": upload}

        return self._call("create_multipart_upload", create)

    def upload_part(self, **request: Any) -> dict[str, Any]:
        self._want_digest(request)

        def add() -> dict[str, Any]:
            content = request["Body"].read()
            self._upload(request)[2][request["PartNumber"]] = content
            self.ever.add((request["Key"], content))
            return {"ETag": str(request["PartNumber"])}

        return self._call("upload_part", add)

    def complete_multipart_upload(self, **request: Any) -> dict[str, Any]:
        def complete() -> dict[str, Any]:
            if request.get("IfNoneMatch") and not self.knows_conditional_completion:
                raise refused("NotImplemented", 501)
            parts = self._upload(request)[2]
            answer = self._put(request["Key"], b"".join(parts[number] for number in sorted(parts)), request)
            del self.unfinished[request["UploadId"]]
            return answer

        return self._call("complete_multipart_upload", complete)

    def abort_multipart_upload(self, **request: Any) -> dict[str, Any]:
        def abort() -> dict[str, Any]:
            self._upload(request)
            del self.unfinished[request["UploadId"]]
            return {}

        return self._call("abort_multipart_upload", abort)

    def delete_object(self, **request: Any) -> dict[str, Any]:
        with self._lock:
            marker = (f"m{next(self._numbers)}", None, self.now())
            self.versions.setdefault(request["Key"], []).append(marker)
        return {}

    def delete_objects(self, **request: Any) -> dict[str, Any]:
        def delete() -> dict[str, Any]:
            errors = []
            for target in request["Delete"]["Objects"]:
                name = target["Key"]
                if self._is_locked(name, target["VersionId"]):
                    errors.append({**target, "Code": "AccessDenied", "Message": "protected by object lock"})
                    continue
                left = [v for v in self.versions.get(name, []) if v[0] != target["VersionId"]]
                self.versions[name] = left
                if not left:
                    del self.versions[name]
            return {"Errors": errors} if errors else {}

        return self._call("delete_objects", delete)

    def get_paginator(self, operation_name: str) -> "_Pages":
        listing: Callable[[str, str], dict[str, Any]] = getattr(self, f"_{operation_name}")
        return _Pages(lambda prefix, after: self._call(operation_name, lambda: listing(prefix, after)))

    def close(self) -> None:
        pass

    def _list_objects_v2(self, prefix: str, after: str) -> dict[str, Any]:
        found = [
            {"Key": name, "LastModified": versions[-1][2]}
            for name, versions in sorted(self.versions.items())
            if name.startswith(prefix) and name > after and versions[-1][1] is not None
        ]
        return {"Contents": found}

    def _list_object_versions(self, prefix: str, _after: str) -> dict[str, Any]:
        every = [(n, v) for n, versions in sorted(self.versions.items()) if n.startswith(prefix) for v in versions]
        return {
            "Versions": [{"Key": n, "VersionId": v[0], "LastModified": v[2]} for n, v in every if v[1] is not None],
            "DeleteMarkers": [{"Key": n, "VersionId": v[0], "LastModified": v[2]} for n, v in every if v[1] is None],
        }

    def _list_multipart_uploads(self, prefix: str, _after: str) -> dict[str, Any]:
        return {
            "Uploads": [
                {"Key": name, "UploadId": upload, "Initiated": at}
                for upload, (name, at, _) in self.unfinished.items()
                if name.startswith(prefix)
            ]
        }

    def _want_digest(self, request: dict[str, Any]) -> None:
        """As AWS does: no body without a digest comes into a bucket with default retention."""
        if self.default_retention is not None and "ContentMD5" not in request:
            raise refused("InvalidRequest", 400)

    def _retention(self, request: dict[str, Any]) -> datetime | None:
        return self.locks.get((request["Key"], request["VersionId"]))

    def _is_locked(self, name: str, version: str) -> bool:
        if (name, version) not in self.locks:
            return False
        until = self.locks[name, version]
        return until is None or until > self.now()

    def _upload(self, request: dict[str, Any]) -> tuple[str, datetime, dict[int, bytes]]:
        found = self.unfinished.get(request["UploadId"])
        if found is None:
            raise refused("NoSuchUpload", 404)
        return found

    def _put(self, name: str, content: bytes, request: dict[str, Any]) -> dict[str, Any]:
        if request.get("IfNoneMatch") and self.current(name) is not None:
            raise refused("PreconditionFailed", 412)
        version = f"v{next(self._numbers)}"
        self.versions.setdefault(name, []).append((version, content, self.now()))
        if self.default_retention is not None:
            self.locks[name, version] = self.now() + self.default_retention
        self.ever.add((name, content))
        return {"VersionId": version}

    def _call(self, name: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        self.around(name, "before")
        with self._lock:
            answer = work()
        self.around(name, "after")
        return answer


class _Pages:
    def __init__(self, listing: Callable[[str, str], dict[str, Any]]) -> None:
        self._listing = listing

    def paginate(self, **request: Any) -> Iterable[dict[str, Any]]:
        def pages() -> Iterator[dict[str, Any]]:
            yield self._listing(request.get("Prefix", ""), request.get("StartAfter", ""))

        return pages()


def refused(code: str, status: int) -> ClientError:
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "call")


class MemoryBucket(Bucket):
    """The real bucket logic over `MemoryS3`."""

    def __init__(self, s3: MemoryS3 | None = None) -> None:
        self.s3 = s3 or MemoryS3()
        self._name = "memory"
        self._region = "us-east-1"
        self._s3 = self._s3_once = self.s3
        self._send = Sending()
