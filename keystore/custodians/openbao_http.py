"""HTTP to one Transit engine of OpenBao; the wall between its errors and ours.

hvac builds the requests; everything it would take from the environment (address, token, proxies, certificates) is
fixed here instead, and redirects are not followed: they would carry the token, and root keys, to another host. Each
thread of each process has connections of its own. All calls are safe to repeat, and one that meets a connection which
the server has closed is repeated once.
"""

from __future__ import annotations

import ipaddress
import os
import re
import threading
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, parse_qsl, urlsplit

import requests
from hvac.adapters import RawAdapter

from keystore.errors import CustodianError, CustodianUnavailableError

from .credentials import Credential

__all__ = ["Answer", "OpenBaoUri", "TransitEngine", "parse"]

_SCHEME: Final = "openbao:"
_MOUNT: Final = re.compile(r"(?:/[A-Za-z0-9_-]+)+")
_PREFIX: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,63}")
_OPTIONS: Final = frozenset({"token-file", "prefix", "ca-file", "timeout"})
_PREFIX_BY_DEFAULT: Final = "shredvault-"
_TIMEOUT_S: Final = 10.0
_TIMEOUT_MAX_S: Final = 120.0
_ATTEMPTS: Final = 2
_OURS_TO_READ: Final = (HTTPStatus.OK, HTTPStatus.NO_CONTENT, HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND)


@dataclass(frozen=True, slots=True)
class OpenBaoUri:
    """A parsed URI. It has no secret in it."""

    text: str
    server: str
    mount: str
    prefix: str
    token_file: Path | None
    ca_file: Path | None
    timeout_s: float


def parse(text: str) -> OpenBaoUri:
    """Read `openbao:https://host:8200/transit?token-file=/path&prefix=shredvault-&ca-file=/path&timeout=10`.

    Raises:
        CustodianError: something is missing, unknown, or said twice; or the server would be reached without TLS.
    """
    try:
        parts = urlsplit(text.removeprefix(_SCHEME))
        port = parts.port
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError as error:
        message = "The OpenBao URI is not well formed."
        raise CustodianError(message) from error
    options = dict(pairs)
    if len(options) != len(pairs) or not options.keys() <= _OPTIONS:
        message = f"The OpenBao URI takes {', '.join(sorted(_OPTIONS))}, each once at most."
        raise CustodianError(message)
    if not text.startswith(_SCHEME) or not parts.hostname or parts.fragment or "@" in parts.netloc:
        message = "The OpenBao URI must be openbao:https://host:8200/transit, without a user or a fragment."
        raise CustodianError(message)
    if not _MOUNT.fullmatch(parts.path):
        message = "The OpenBao URI must name the mount of a Transit engine, as in openbao:https://host:8200/transit."
        raise CustodianError(message)
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(parts.hostname)):
        message = "OpenBao must be reached by https; plain http is for 127.0.0.1, ::1 and localhost only."
        raise CustodianError(message)
    prefix = options.get("prefix", _PREFIX_BY_DEFAULT)
    if not _PREFIX.fullmatch(prefix):
        message = "The OpenBao URI's prefix has 1 to 64 letters, digits, _ and -, and does not begin with -."
        raise CustodianError(message)
    return OpenBaoUri(
        text,
        _server(parts, port),
        parts.path.strip("/"),
        prefix,
        _file(options, "token-file"),
        _file(options, "ca-file"),
        _timeout_s(options),
    )


def _server(parts: SplitResult, port: int | None) -> str:
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{port}" if port is not None else "")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _file(options: dict[str, str], name: str) -> Path | None:
    if name not in options:
        return None
    if not options[name].startswith("/"):
        message = f"The OpenBao URI's {name} must be an absolute path."
        raise CustodianError(message)
    return Path(options[name])


def _timeout_s(options: dict[str, str]) -> float:
    text = options.get("timeout", str(_TIMEOUT_S))
    if not re.fullmatch(r"\d{1,3}(\.\d{1,3})?", text) or not 0 < float(text) <= _TIMEOUT_MAX_S:
        message = f"The OpenBao URI's timeout must be a number of seconds up to {_TIMEOUT_MAX_S:.0f}."
        raise CustodianError(message)
    return float(text)


@dataclass(frozen=True, slots=True, repr=False)
class Answer:
    """What the server said to a request that it understood. It may hold a root key, so it has no repr."""

    status: HTTPStatus
    """OK, NO_CONTENT, BAD_REQUEST or NOT_FOUND."""
    data: dict[str, Any]
    errors: tuple[str, ...]


class TransitEngine:
    """One mount of one server."""

    def __init__(self, uri: OpenBaoUri, token: Credential) -> None:
        """Remember where it is; nothing is sent yet."""
        self._uri = uri
        self._token = token
        self._own = threading.local()

    def request(self, method: str, path: str, body: dict[str, Any] | None = None) -> Answer:
        """Send one request to `path` below the mount.

        Raises:
            CustodianUnavailableError: no answer, or one that may be different later: sealed, standby, overloaded.
            CustodianError: the token is missing or may not do this, or the server is none.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return self._read(self._send(method, path, body))
            except requests.exceptions.SSLError as error:
                message = (
                    f"No trusted TLS connection to OpenBao at {self._uri.server}: see its certificate and ca-file."
                )
                raise CustodianUnavailableError(message) from error
            except requests.exceptions.Timeout as error:
                message = f"OpenBao at {self._uri.server} does not answer within {self._uri.timeout_s:g} seconds."
                raise CustodianUnavailableError(message) from error
            except (requests.exceptions.ConnectionError, requests.exceptions.ChunkedEncodingError) as error:
                self._own.__dict__.clear()
                if attempt == _ATTEMPTS:
                    message = f"OpenBao at {self._uri.server} cannot be reached, or hangs up."
                    raise CustodianUnavailableError(message) from error
            except requests.exceptions.RequestException as error:
                message = f"The request to OpenBao at {self._uri.server} failed ({type(error).__name__})."
                raise CustodianUnavailableError(message) from error
            except OSError as error:
                # requests looks for the file itself, and says so in its own words.
                message = f"OpenBao cannot be reached: the ca-file cannot be read: {self._uri.ca_file}"
                raise CustodianError(message) from error
        raise AssertionError

    def _send(self, method: str, path: str, body: dict[str, Any] | None) -> requests.Response:
        adapter = self._adapter()
        adapter.token = self._token.read()
        response: requests.Response = adapter.request(
            method, f"/v1/{self._uri.mount}/{path}", raise_exception=False, json=body
        )
        return response

    def _adapter(self) -> RawAdapter:
        if getattr(self._own, "process", None) != os.getpid():
            session = requests.Session()
            # No proxies, no .netrc, no certificates from the environment.
            session.trust_env = False
            session.verify = str(self._uri.ca_file) if self._uri.ca_file else True
            self._own.adapter = RawAdapter(
                base_uri=self._uri.server, timeout=self._uri.timeout_s, allow_redirects=False, session=session
            )
            self._own.process = os.getpid()
        adapter: RawAdapter = self._own.adapter
        return adapter

    def _read(self, response: requests.Response) -> Answer:
        status = response.status_code
        if status in _OURS_TO_READ:
            if not response.content and status != HTTPStatus.NO_CONTENT:
                # A connection that ended among the headers is not noticed by requests.
                raise requests.exceptions.ConnectionError
            try:
                content = response.json() if response.content else {}
                return Answer(HTTPStatus(status), content.get("data") or {}, tuple(content.get("errors") or ()))
            except (ValueError, AttributeError):
                # Not chained: the error would show what was received.
                pass
            message = f"What answers at {self._uri.server} is not OpenBao."
            raise CustodianError(message)
        raise self._failure(status, response.headers.get("Location", ""))

    def _failure(self, status: int, location: str) -> CustodianError:
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            return CustodianError(
                "OpenBao refuses: the token is wrong or has run out, its policy does not allow what Shredvault must "
                f"do, or there is no engine at {self._uri.mount}."
            )
        if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
            return CustodianUnavailableError(
                f"OpenBao at {self._uri.server} redirects to {urlsplit(location).hostname or 'another place'}, which "
                "is not followed; if that is the active node, the custodian's URI must name it."
            )
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            return CustodianUnavailableError("OpenBao has had too many requests; try again later.")
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            return CustodianUnavailableError(f"OpenBao at {self._uri.server} is sealed or not ready; unseal it.")
        return CustodianUnavailableError(f"OpenBao at {self._uri.server} is in trouble (HTTP {status}).")
