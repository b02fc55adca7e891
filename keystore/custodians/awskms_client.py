"""How KMS is spoken to: where it is, the one client, and the wall between its errors and ours.

The only module here that imports boto3. Credentials come from boto3's ordinary chain and are never ours to keep.

botocore writes request and answer bodies to its DEBUG log. Root keys travel in those bodies (`Encrypt`, `Decrypt`),
and so does the wrapped material of a master. So DEBUG records of botocore are dropped in any process that has
made this client, whatever level somebody sets afterwards.
"""

from __future__ import annotations

import ipaddress
import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qsl, urlsplit

import boto3
import botocore.exceptions as boto
import botocore.parsers
import urllib3.exceptions as raw
from botocore.config import Config

from keystore.errors import CustodianError, CustodianUnavailableError

__all__ = [
    "AliasTakenError",
    "Answer",
    "CiphertextRefusedError",
    "KeyMissingError",
    "KeyUnusableError",
    "Kms",
    "OperationUnknownError",
    "Place",
]

CONNECT_TIMEOUT_SECONDS: Final = 5.0
READ_TIMEOUT_SECONDS: Final = 20.0
CONNECTIONS_MAX: Final = 16
ATTEMPTS: Final = 3
VALID_DAYS_MAX: Final = 365
"""ImportKeyMaterial takes no `ValidTo` beyond 365 days from the request."""
VALID_DAYS_DEFAULT: Final = 365
PREFIX_DEFAULT: Final = "shredvault-"

Answer: TypeAlias = Mapping[str, Any]

_REGION: Final = re.compile(r"[a-z]{2}(?:-[a-z]+)+-[0-9]{1,2}")
_PREFIX: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_DAYS: Final = re.compile(r"[1-9][0-9]{0,2}")
_PARAMETERS: Final = frozenset({"endpoint", "valid-days", "prefix"})
_CODE_CHARACTERS_MAX: Final = 60


class KeyMissingError(CustodianError):
    """KMS knows no such key or alias."""


class KeyUnusableError(CustodianError):
    """KMS has the key and, in its present state, does not do this with it."""


class CiphertextRefusedError(CustodianError):
    """KMS does not decrypt this with this key in this context."""


class AliasTakenError(CustodianError):
    """An alias of this name is there already."""


class OperationUnknownError(CustodianError):
    """The service does not have this operation."""


_UNDERSTOOD: Final[dict[str, type[CustodianError]]] = {
    "NotFoundException": KeyMissingError,
    "KMSInvalidStateException": KeyUnusableError,
    "DisabledException": KeyUnusableError,
    "InvalidCiphertextException": CiphertextRefusedError,
    "IncorrectKeyException": CiphertextRefusedError,
    "AlreadyExistsException": AliasTakenError,
    "InvalidAction": OperationUnknownError,
    "UnknownOperationException": OperationUnknownError,
}
_REPEATABLE: Final = frozenset(
    {
        "DependencyTimeoutException",
        "InternalFailure",
        "InternalServerError",
        "KMSInternalException",
        "KeyUnavailableException",
        "RequestTimeout",
        "ServiceUnavailable",
        "ServiceUnavailableException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
_CREDENTIALS_RAN_OUT: Final = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired"})
_STATUS_TOO_MANY: Final = 429
_STATUS_SERVER: Final = 500


@dataclass(frozen=True, slots=True)
class Place:
    """Where the keys of one vault are: a region, a prefix of their names, and how long their material lasts."""

    uri: str
    region: str
    endpoint: str | None
    prefix: str
    valid_days: int

    @classmethod
    def from_uri(cls, uri: str) -> Place:
        """Read `awskms:REGION?prefix=…&valid-days=…&endpoint=…`; all parameters may be left out.

        Raises:
            CustodianError: not such a URI, or an endpoint over plain HTTP that is not this machine.
        """
        parts = urlsplit(uri)
        try:
            pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query), max_num_fields=8)
        except ValueError:
            pairs = [("", "")]
        given = dict(pairs)
        prefix = given.get("prefix", PREFIX_DEFAULT)
        days = given.get("valid-days", str(VALID_DAYS_DEFAULT))
        if (
            parts.scheme != "awskms"
            or parts.netloc
            or parts.fragment
            or not _REGION.fullmatch(parts.path)
            or len(given) != len(pairs)
            or not given.keys() <= _PARAMETERS
            or not _PREFIX.fullmatch(prefix)
            or prefix.startswith("aws")
        ):
            message = (
                "A custodian at AWS KMS is given as awskms:REGION, and after a ? what may be left out: prefix "
                "(a-z, 0-9 and -), valid-days, endpoint."
            )
            raise CustodianError(message)
        if not _DAYS.fullmatch(days) or int(days) > VALID_DAYS_MAX:
            message = f"valid-days must be 1 to {VALID_DAYS_MAX}: AWS takes no later end for imported key material."
            raise CustodianError(message)
        endpoint = given.get("endpoint")
        if endpoint is not None:
            _check_endpoint(endpoint)
        return cls(uri, parts.path, endpoint, prefix, int(days))


def _check_endpoint(endpoint: str) -> None:
    parts = urlsplit(endpoint)
    bare = not (parts.username or parts.password or parts.query or parts.fragment or parts.path.strip("/"))
    if not bare or not parts.hostname or parts.scheme not in {"http", "https"}:
        message = "The endpoint must be https://HOST or https://HOST:PORT, without credentials."
        raise CustodianError(message)
    if parts.scheme == "http" and not _is_loopback(parts.hostname):
        message = "Root keys go through the endpoint: over plain http it must be on this machine."
        raise CustodianError(message)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        # Names are not trusted: what `localhost` means is decided by files and servers.
        return False


class Kms:
    """One client of KMS. Every call goes through `ask`; every error comes out of it in our words."""

    def __init__(self, place: Place) -> None:
        """Make the client; nothing is sent yet.

        Raises:
            CustodianError: the configuration of boto3 cannot be used.
        """
        own_endpoint = place.endpoint is not None
        config = Config(
            connect_timeout=CONNECT_TIMEOUT_SECONDS,
            read_timeout=READ_TIMEOUT_SECONDS,
            max_pool_connections=CONNECTIONS_MAX,
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
            ignore_configured_endpoint_urls=True,
            proxies={} if own_endpoint else None,
        )
        self._where = place.endpoint or f"AWS KMS in {place.region}"
        with _Wall(self._where):
            session = boto3.Session(region_name=place.region)
            self._client: Any = session.client("kms", endpoint_url=place.endpoint, config=config)
        _keep_bodies_out_of_logs()

    def ask(self, operation: str, **request: object) -> Answer:
        """Send one request; `operation` is spelt as boto3 spells it, `describe_key`.

        Raises:
            KeyMissingError, KeyUnusableError, CiphertextRefusedError: see there.
            AliasTakenError, OperationUnknownError: see there.
            CustodianUnavailableError: no answer, or one that says to try again; it may have been done all the same.
            CustodianError: refused for another reason.
        """
        with _Wall(self._where):
            answer: Answer = getattr(self._client, operation)(**request)
        return answer

    def list(self, operation: str, key: str, **request: object) -> Iterator[Any]:
        """All items of a list operation, over all its pages; `key` names the list in the answer."""
        marker: dict[str, object] = {}
        while True:
            page = self.ask(operation, **request, **marker)
            yield from page.get(key, ())
            if not page.get("Truncated"):
                return
            if page.get("NextMarker") in (None, marker.get("Marker")):
                message = f"The list of {self._where} does not go on where it said it would."
                raise CustodianError(message)
            marker = {"Marker": page["NextMarker"]}


class _Wall:
    """The wall: errors of botocore and urllib3 become ours here and nowhere else.

    Messages carry no request and no answer: the one foreign thing in them is KMS's error code, cut to letters.
    """

    def __init__(self, where: str) -> None:
        self._where = where

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, boto.ClientError):
            raise self._refusal(error) from error
        if isinstance(error, boto.NoCredentialsError | boto.PartialCredentialsError | boto.CredentialRetrievalError):
            message = f"There are no usable AWS credentials for {self._where}."
            raise CustodianError(message) from error
        if isinstance(error, boto.HTTPClientError | boto.ConnectionError | raw.HTTPError):
            message = f"{self._where} does not answer ({type(error).__name__}). The call may be repeated."
            raise CustodianUnavailableError(message) from error
        if isinstance(error, botocore.parsers.ResponseParserError):
            message = f"{self._where} gave an answer that is none of KMS."
            raise CustodianUnavailableError(message) from error
        if isinstance(error, boto.BotoCoreError):
            message = f"The AWS client for {self._where} cannot be used ({type(error).__name__})."
            raise CustodianError(message) from error

    def _refusal(self, error: boto.ClientError) -> CustodianError:
        # Some services spell it `namespace#Code`.
        full = str(error.response.get("Error", {}).get("Code", "")).rpartition("#")[2]
        code = "".join(c for c in full if c.isascii() and c.isalnum())[:_CODE_CHARACTERS_MAX] or "unknown"
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if code in _UNDERSTOOD:
            return _UNDERSTOOD[code](f"{self._where} refused ({code}).")
        if code in _REPEATABLE or status == _STATUS_TOO_MANY or status >= _STATUS_SERVER:
            return CustodianUnavailableError(f"{self._where} cannot serve now ({code}). The call may be repeated.")
        if code in _CREDENTIALS_RAN_OUT:
            message = f"The AWS credentials for {self._where} have run out ({code}). Renew them and repeat."
            return CustodianUnavailableError(message)
        if code in {"AccessDeniedException", "AccessDenied"}:
            return CustodianError(f"These AWS credentials may not do this at {self._where} ({code}).")
        if code in {"UnrecognizedClientException", "InvalidClientTokenId", "InvalidSignatureException"}:
            message = f"{self._where} does not know these AWS credentials ({code}), or they are of another region."
            return CustodianError(message)
        return CustodianError(f"{self._where} refused ({code}).")


class _NoBodies(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno > logging.DEBUG


_NO_BODIES: Final = _NoBodies()


def _keep_bodies_out_of_logs() -> None:
    # A filter on a logger holds for its own records only, so every one of botocore's needs it. They are all
    # there once a client is made: botocore makes them when its modules are imported.
    for name in list(logging.root.manager.loggerDict):
        if name == "botocore" or name.startswith("botocore."):
            logging.getLogger(name).addFilter(_NO_BODIES)
