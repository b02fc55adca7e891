"""Object lock: what a store may not delete yet, and how that is told from a want of permission.

A locked version and a missing permission are refused alike (`AccessDenied` for one key of a DeleteObjects), so
the version itself is asked. No lock is ever bypassed, also where the credentials would allow it: whoever set a
retention wanted the bytes to stay, and without their key they are noise.
"""

from datetime import datetime, timedelta
from typing import Final, NamedTuple

from .client import S3
from .errors import ObjectNotFound, ObjectStoreMisbehaved, ObjectStoreUnable, wall

__all__ = ["LOCK_CODES", "Deletion", "Locked", "lock_of"]

LOCK_CODES: Final = frozenset({"AccessDenied", "403", "ObjectLocked"})
"""With which a deletion is refused because of a lock: AWS, SeaweedFS and Ceph say the first, MinIO the last."""

MARGIN: Final = timedelta(minutes=1)
"""A lock that ran out this long ago was still on when the deletion was refused; an older one is no excuse."""


_UNLOCKED: Final = (ObjectNotFound, ObjectStoreMisbehaved, ObjectStoreUnable)
"""Answers for a version without a lock, one that is a delete marker, and one in a bucket without object lock."""


class Locked(NamedTuple):
    """A version that the store may not delete: before `until`, or, if that is None, while its legal hold is on."""

    name: str
    version_id: str
    until: datetime | None


class Deletion(NamedTuple):
    """What a deletion came to: how many versions and delete markers are gone, and what had to stay."""

    gone: int
    locked: list[Locked]


def lock_of(s3: S3, bucket: str, name: str, version_id: str, now: datetime) -> Locked | None:
    """The lock on a version at `now` (the store's clock), or None when there is none.

    Asked with GetObjectLegalHold and GetObjectRetention, not with HeadObject, which takes the permission to read
    the object. The legal hold counts first, since nobody can say when it ends.

    Raises: ObjectStoreDenied when we may not ask; ObjectStoreUnavailable.
    """
    version = {"Bucket": bucket, "Key": name, "VersionId": version_id}
    try:
        with wall():
            hold = s3.get_object_legal_hold(**version)
        if hold.get("LegalHold", {}).get("Status") == "ON":
            return Locked(name, version_id, None)
    except _UNLOCKED:
        pass
    try:
        with wall():
            retention = s3.get_object_retention(**version)
        until: datetime | None = retention.get("Retention", {}).get("RetainUntilDate")
    except _UNLOCKED:
        return None
    return Locked(name, version_id, until) if until is not None and until > now - MARGIN else None
