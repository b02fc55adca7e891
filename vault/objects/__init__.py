"""Objects in S3-compatible storage: put, read, list, and delete so that nothing is left.

Only this package imports botocore (`vault.objects.errors` is the wall where its errors end). It
knows names and bytes; that the bytes are sealed and the names random is the business of its callers.
"""

from .bodies import PUT_BYTES_MAX, ObjectReader
from .bucket import Bucket, Version
from .client import BucketSettings
from .errors import (
    BucketMissing,
    ObjectExists,
    ObjectLocked,
    ObjectNotFound,
    ObjectStoreDenied,
    ObjectStoreError,
    ObjectStoreMisbehaved,
    ObjectStoreUnable,
    ObjectStoreUnavailable,
)
from .locks import Deletion, Locked
from .parts import PART_BYTES_MIN, PartedUpload, Unfinished

__all__ = [
    "PART_BYTES_MIN",
    "PUT_BYTES_MAX",
    "Bucket",
    "BucketMissing",
    "BucketSettings",
    "Deletion",
    "Locked",
    "ObjectExists",
    "ObjectLocked",
    "ObjectNotFound",
    "ObjectReader",
    "ObjectStoreDenied",
    "ObjectStoreError",
    "ObjectStoreMisbehaved",
    "ObjectStoreUnable",
    "ObjectStoreUnavailable",
    "PartedUpload",
    "Unfinished",
    "Version",
]
