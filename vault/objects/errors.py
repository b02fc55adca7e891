"""What can go wrong with the bucket, in our own words.

This is the wall: errors of botocore and urllib3 become one of the exceptions below here and nowhere else,
narrowly and `from` their cause. Messages are sentences for an operator. They hold no credential, no object
name and no content; the one foreign thing in them is the store's error code, cut to letters and digits.
"""

# ruff: noqa: N818  # the names say what is the case

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import botocore.exceptions as boto
import botocore.parsers
import urllib3.exceptions as raw

__all__ = [
    "BucketMissing",
    "ObjectExists",
    "ObjectLocked",
    "ObjectNotFound",
    "ObjectStoreDenied",
    "ObjectStoreError",
    "ObjectStoreMisbehaved",
    "ObjectStoreUnable",
    "ObjectStoreUnavailable",
    "refusal",
    "wall",
]

ERROR_CODE_CHARACTERS_MAX: Final = 40

_TRY_AGAIN_CODES: Final = frozenset(
    {
        "ConditionalRequestConflict",
        "IncompleteBody",
        "InternalError",
        "OperationAborted",
        "RequestTimeout",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
    }
)
_STATUS_TOO_MANY: Final = 429
_STATUS_SERVER: Final = 500


class ObjectStoreError(Exception):
    """Base of everything `vault.objects` raises about the store."""


class ObjectStoreUnavailable(ObjectStoreError):
    """No usable answer: refused, cut off, too slow, overloaded. A write may have happened. Try again."""


class ObjectStoreDenied(ObjectStoreError):
    """The store knows neither these credentials nor this signature, or allows them less than is needed."""


class ObjectNotFound(ObjectStoreError):
    """The object (or the unfinished upload) is not there."""


class ObjectExists(ObjectStoreError):
    """A conditional create met an object of this name. Nothing was written."""


class ObjectLocked(ObjectStoreError):
    """A version may not be deleted yet: object lock retains it. Everything else was deleted."""


class ObjectStoreUnable(ObjectStoreError):
    """The store does not know this kind of request, or this bucket needs another one."""


class BucketMissing(ObjectStoreError):
    """The store answers, and the bucket is not there."""


class ObjectStoreMisbehaved(ObjectStoreError):
    """An answer that breaks the contract: a short or oversized body, a version that outlives its deletion."""


_ABSENT: Final = (ObjectNotFound, "The object or upload is not in the bucket.")
_TAKEN: Final = (ObjectExists, "An object of this name is already in the bucket.")
_PLAIN: Final[dict[str, tuple[type[ObjectStoreError], str]]] = {
    "NoSuchBucket": (BucketMissing, "The bucket is not there."),
    "404": _ABSENT,
    "NoSuchKey": _ABSENT,
    "NoSuchUpload": _ABSENT,
    "NoSuchVersion": _ABSENT,
    "NoSuchObjectLegalHold": _ABSENT,
    "NoSuchObjectLockConfiguration": _ABSENT,
    "ObjectLockConfigurationNotFoundError": _ABSENT,
    "412": _TAKEN,
    "PreconditionFailed": _TAKEN,
    "NotImplemented": (ObjectStoreUnable, "The object store does not know this kind of request."),
    "InvalidRequest": (ObjectStoreUnable, "The object store refused a request it ought to accept (InvalidRequest)."),
    "RequestTimeTooSkewed": (ObjectStoreDenied, "The object store's clock and ours differ too much."),
}


def refusal(code: str, status: int) -> ObjectStoreError:
    """The exception for a refusal with S3 error `code` and HTTP `status` (0 if unknown).

    HEAD answers have no body; for them botocore puts the status where the code belongs.
    """
    shown = "".join(c for c in code if c.isascii() and c.isalnum())[:ERROR_CODE_CHARACTERS_MAX] or "no code"
    if code in _PLAIN:
        kind, sentence = _PLAIN[code]
        return kind(sentence)
    if code in _TRY_AGAIN_CODES or status >= _STATUS_SERVER or status == _STATUS_TOO_MANY:
        return ObjectStoreUnavailable(f"The object store could not serve the request just now ({shown}).")
    if status in {401, 403} or code in {"AccessDenied", "401", "403"}:
        return ObjectStoreDenied(f"The object store refused our credentials ({shown}).")
    return ObjectStoreMisbehaved(f"The object store refused a request it ought to accept ({shown}).")


@contextmanager
def wall() -> Iterator[None]:
    """Translate what comes out of botocore and urllib3 inside the block.

    Raises: a member of the `ObjectStoreError` family. `ParamValidationError` passes: it is a mistake in our
    own call.
    """
    try:
        yield
    except boto.ClientError as error:
        answer = error.response
        status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        raise refusal(str(answer.get("Error", {}).get("Code", "")), status) from error
    except (boto.ReadTimeoutError, boto.ConnectTimeoutError, raw.TimeoutError, TimeoutError) as error:
        raise ObjectStoreUnavailable("The object store did not answer in time.") from error
    except boto.SSLError as error:
        raise ObjectStoreUnavailable("No trusted TLS connection to the object store could be made.") from error
    except (boto.ResponseStreamingError, boto.IncompleteReadError, raw.HTTPError) as error:
        raise ObjectStoreUnavailable("The object store broke off in the middle of a body.") from error
    except (boto.HTTPClientError, boto.ConnectionError, OSError) as error:
        raise ObjectStoreUnavailable("The object store cannot be reached.") from error
    except botocore.parsers.ResponseParserError as error:
        raise ObjectStoreMisbehaved("The object store gave an answer that is not S3.") from error
