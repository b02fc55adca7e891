"""A strict stub of KMS on 127.0.0.1: the rules of imported material, and servers that lag, fail and lie.

It keeps the rules that an emulator leaves out: tokens are used once and run out, a key takes back only the material
it had, `ValidTo` is at most 365 days away, one key has several materials, contexts and keys are bound into the
ciphertext. It refuses operations and parameters that it does not know.
"""

import base64
import hashlib
import json
import secrets
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

DAY_SECONDS = 86400
TOKEN_SECONDS = DAY_SECONDS
Json = dict[str, Any]


class Refused(Exception):  # noqa: N818
    def __init__(self, code: str, status: int = 400) -> None:
        super().__init__(code)
        self.code, self.status = code, status


@cache
def import_key(bits: int) -> rsa.RSAPrivateKey:
    """One for the process: making one takes a second, and nothing here depends on its being fresh."""
    return rsa.generate_private_key(65537, bits)


@dataclass
class Material:
    secret: bytes
    valid_to: float | None
    imported: bool = True
    ident: str = field(default_factory=lambda: secrets.token_hex(32))


@dataclass
class StoredKey:
    description: str
    origin: str
    multi_region: bool
    created: float
    ident: str = field(default_factory=lambda: str(uuid.uuid4()))
    materials: list[Material] = field(default_factory=list)
    current: int = 0
    enabled: bool = True
    deletion: float | None = None
    hidden_for: int = 0

    @property
    def arn(self) -> str:
        return f"arn:aws:kms:us-east-1:000000000000:key/{self.ident}"

    def state(self) -> str:
        if self.deletion is not None:
            return "PendingDeletion"
        if not self.materials or not all(material.imported for material in self.materials):
            return "PendingImport"
        return "Enabled" if self.enabled else "Disabled"


class StrictKms:
    """Use as a context manager; `url` is the endpoint. Tests read and change `keys` and `aliases` as an admin would."""

    def __init__(self) -> None:
        self.keys: dict[str, StoredKey] = {}
        self.aliases: dict[str, str] = {}
        self.calls: list[str] = []
        self.contexts: list[dict[str, str]] = []
        self.later = 0.0
        """Seconds that KMS's clock is ahead of ours."""
        self.lag = 0
        """How many looks at a new key or alias find nothing."""
        self.page = 2
        self.fail: Callable[[str], None] = lambda _: None
        """Called before each operation; raises `Refused` to fail it."""
        self.lies: set[str] = set()
        self._tokens: dict[bytes, tuple[str, float]] = {}
        self._alias_hidden: dict[str, int] = {}
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def now(self) -> float:
        return time.time() + self.later

    def only(self, described: str) -> StoredKey:
        (key,) = (key for key in self.keys.values() if described in key.description)
        return key

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status, answer = stub.answer(self.headers.get("X-Amz-Target", ""), json.loads(body))
                raw = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/x-amz-json-1.1")
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *_: object) -> None:
                return

        return Handler

    def answer(self, target: str, request: Json) -> tuple[int, Json]:
        operation = target.removeprefix("TrentService.")
        with self._lock:
            self.calls.append(operation)
            for key in self.keys.values():
                for material in key.materials:
                    if material.valid_to is not None and material.valid_to <= self.now():
                        material.imported = False
            try:
                self.fail(operation)
                return 200, self._do(operation, request)
            except Refused as refused:
                return refused.status, {"__type": refused.code, "message": refused.code}

    def _do(self, operation: str, request: Json) -> Json:
        if operation not in OPERATIONS:
            raise Refused("UnknownOperationException")
        do, allowed = OPERATIONS[operation]
        if not request.keys() <= allowed:
            raise Refused("ValidationException")
        return do(self, request)

    def _key(self, named: str, *, alias: bool = True) -> StoredKey:
        if alias and named.startswith("alias/"):
            if named not in self.aliases:
                raise Refused("NotFoundException")
            if self._alias_hidden.get(named, 0) > 0:
                self._alias_hidden[named] -= 1
                raise Refused("NotFoundException")
            named = self.aliases[named]
        key = self.keys.get(named)
        if key is None:
            raise Refused("NotFoundException")
        if key.hidden_for > 0:
            key.hidden_for -= 1
            raise Refused("NotFoundException")
        return key

    def _create_key(self, request: Json) -> Json:
        key = StoredKey(request["Description"], request["Origin"], request["MultiRegion"], self.now())
        key.hidden_for = self.lag
        if key.origin == "AWS_KMS":
            key.materials.append(Material(secrets.token_bytes(32), None))
        self.keys[key.ident] = key
        return {"KeyMetadata": self._metadata(key)}

    def _metadata(self, key: StoredKey) -> Json:
        said: Json = {
            "KeyId": key.ident,
            "CreationDate": key.created,
            "Description": key.description,
            "KeyState": key.state(),
            "Origin": key.origin,
            "MultiRegion": key.multi_region,
        }
        if "state flaps" in self.lies and key.state() == "PendingImport" and self.calls.count("DescribeKey") % 2:
            said["KeyState"] = "Enabled"
        imported = [material for material in key.materials if material.imported]
        if key.origin == "EXTERNAL" and imported:
            ends = [material.valid_to for material in imported if material.valid_to is not None]
            said["ExpirationModel"] = "KEY_MATERIAL_EXPIRES" if ends else "KEY_MATERIAL_DOES_NOT_EXPIRE"
            if ends:
                said["ValidTo"] = min(ends)
        return said

    def _describe_key(self, request: Json) -> Json:
        return {"KeyMetadata": self._metadata(self._key(request["KeyId"]))}

    def _list_keys(self, request: Json) -> Json:
        return self._paged("Keys", [{"KeyId": key.ident, "KeyArn": key.arn} for key in self.keys.values()], request)

    def _list_key_rotations(self, request: Json) -> Json:
        if request["IncludeKeyMaterial"] != "ALL_KEY_MATERIAL":
            raise Refused("ValidationException")
        key = self._key(request["KeyId"], alias=False)
        entries = [
            {
                "KeyId": key.ident,
                "KeyMaterialId": material.ident,
                "ImportState": "IMPORTED" if material.imported else "PENDING_IMPORT",
                "KeyMaterialState": "CURRENT" if at == key.current else "NON_CURRENT",
            }
            for at, material in enumerate(key.materials)
        ]
        return self._paged("Rotations", entries, request)

    def _paged(self, name: str, items: list[Json], request: Json) -> Json:
        start = int(request.get("Marker", "0"))
        end = start + self.page
        more = {"Truncated": True, "NextMarker": str(end)} if end < len(items) else {"Truncated": False}
        return {name: items[start:end]} | more

    def _create_alias(self, request: Json) -> Json:
        if request["AliasName"] in self.aliases:
            raise Refused("AlreadyExistsException")
        self.aliases[request["AliasName"]] = self._key(request["TargetKeyId"], alias=False).ident
        self._alias_hidden[request["AliasName"]] = self.lag
        return {}

    def _delete_alias(self, request: Json) -> Json:
        if self.aliases.pop(request["AliasName"], None) is None:
            raise Refused("NotFoundException")
        return {}

    def _get_parameters_for_import(self, request: Json) -> Json:
        key = self._key(request["KeyId"], alias=False)
        if (request["WrappingAlgorithm"], request["WrappingKeySpec"]) != ("RSAES_OAEP_SHA_256", "RSA_4096"):
            raise Refused("ValidationException")
        if key.origin != "EXTERNAL":
            raise Refused("UnsupportedOperationException")
        if key.state() == "PendingDeletion":
            raise Refused("KMSInvalidStateException")
        token = secrets.token_bytes(64)
        until = self.now() + (-1 if "token ran out" in self.lies else TOKEN_SECONDS)
        self._tokens[token] = (key.ident, until)
        public = import_key(2048 if "short import key" in self.lies else 4096).public_key()
        return {
            "KeyId": key.arn,
            "ImportToken": base64.b64encode(token).decode(),
            "PublicKey": base64.b64encode(
                public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            ).decode(),
            "ParametersValidTo": until,
        }

    def _import_key_material(self, request: Json) -> Json:
        key = self._key(request["KeyId"], alias=False)
        ident, until = self._tokens.pop(base64.b64decode(request["ImportToken"]), ("", 0.0))
        if ident != key.ident:
            raise Refused("InvalidImportTokenException")
        if until < self.now():
            raise Refused("ExpiredImportTokenException")
        if request["ExpirationModel"] != "KEY_MATERIAL_EXPIRES":
            raise Refused("ValidationException")
        if not self.now() < request["ValidTo"] <= self.now() + 365 * DAY_SECONDS:
            raise Refused("ValidationException")
        if key.state() == "PendingDeletion":
            raise Refused("KMSInvalidStateException")
        try:
            secret = import_key(4096).decrypt(
                base64.b64decode(request["EncryptedKeyMaterial"]),
                padding.OAEP(padding.MGF1(SHA256()), SHA256(), None),
            )
        except ValueError as broken:
            raise Refused("InvalidCiphertextException") from broken
        self.bring_back(key, secret, request["ValidTo"])
        return {"KeyId": key.arn}

    def bring_back(self, key: StoredKey, secret: bytes, valid_to: float | None) -> None:
        """Import, as whoever has the material could: a key takes its own material and no other."""
        if len(secret) != 32:
            raise Refused("IncorrectKeyMaterialException")
        if key.materials and all(material.secret != secret for material in key.materials):
            raise Refused("IncorrectKeyMaterialException")
        for material in key.materials:
            if material.secret == secret:
                material.imported, material.valid_to = True, valid_to
        if not key.materials:
            key.materials.append(Material(secret, valid_to))

    def rotate(self, key: StoredKey) -> None:
        """Import a second material and make it the current one, as an admin can."""
        key.materials.append(Material(secrets.token_bytes(32), self.now() + DAY_SECONDS))
        key.current = len(key.materials) - 1

    def _delete_imported_key_material(self, request: Json) -> Json:
        key = self._key(request["KeyId"], alias=False)
        if key.origin != "EXTERNAL":
            raise Refused("UnsupportedOperationException")
        wanted = request.get("KeyMaterialId")
        for at, material in enumerate(key.materials):
            if (material.ident == wanted if wanted else at == key.current) and "delete does nothing" not in self.lies:
                material.imported = False
        return {"KeyId": key.arn}

    def _usable(self, key: StoredKey, operation: str) -> None:
        if f"{operation} works without material" in self.lies and key.state().startswith("Pending"):
            return
        if key.state() == "Disabled":
            raise Refused("DisabledException")
        if key.state() != "Enabled":
            raise Refused("KMSInvalidStateException")

    def _encrypt(self, request: Json) -> Json:
        key = self._key(request["KeyId"])
        self._usable(key, "encrypt")
        self.contexts.append(request["EncryptionContext"])
        if "encrypts with another key" in self.lies:
            key = next(other for other in self.keys.values() if other is not key and other.state() == "Enabled")
        material, nonce = key.materials[key.current], secrets.token_bytes(12)
        sealed = AESGCM(material.secret).encrypt(nonce, base64.b64decode(request["Plaintext"]), _bound(key, request))
        blob = uuid.UUID(key.ident).bytes + bytes([key.current]) + nonce + sealed
        return {"KeyId": key.arn, "CiphertextBlob": base64.b64encode(blob).decode()}

    def _decrypt(self, request: Json) -> Json:
        key = self._key(request["KeyId"])
        self._usable(key, "decrypt")
        self.contexts.append(request["EncryptionContext"])
        blob = base64.b64decode(request["CiphertextBlob"])
        if blob[:16] != uuid.UUID(key.ident).bytes:
            raise Refused("IncorrectKeyException" if len(blob) > 60 else "InvalidCiphertextException")
        try:
            material = key.materials[blob[16]]
            opened = AESGCM(material.secret).decrypt(blob[17:29], blob[29:], _bound(key, request))
        except (InvalidTag, IndexError, ValueError) as broken:
            raise Refused("InvalidCiphertextException") from broken
        if "another plaintext" in self.lies:
            opened = hashlib.sha256(opened).digest()
        if "short plaintext" in self.lies:
            opened = opened[:16]
        return {"KeyId": key.arn, "Plaintext": base64.b64encode(opened).decode()}

    def _update_key_description(self, request: Json) -> Json:
        key = self._key(request["KeyId"], alias=False)
        if key.state() == "PendingDeletion":
            raise Refused("KMSInvalidStateException")
        key.description = request["Description"]
        return {}

    def _schedule_key_deletion(self, request: Json) -> Json:
        key = self._key(request["KeyId"], alias=False)
        if key.state() == "PendingDeletion":
            raise Refused("KMSInvalidStateException")
        if not 7 <= request["PendingWindowInDays"] <= 30:
            raise Refused("ValidationException")
        key.deletion = self.now() + request["PendingWindowInDays"] * DAY_SECONDS
        return {"KeyId": key.arn, "DeletionDate": key.deletion, "KeyState": "PendingDeletion"}

    def _cancel_key_deletion(self, request: Json) -> Json:
        key = self._key(request["KeyId"], alias=False)
        if key.deletion is None:
            raise Refused("KMSInvalidStateException")
        key.deletion, key.enabled = None, False
        return {"KeyId": key.arn}


def _bound(key: StoredKey, request: Json) -> bytes:
    return json.dumps([key.ident, request["EncryptionContext"]], sort_keys=True).encode()


OPERATIONS: dict[str, tuple[Callable[[StrictKms, Json], Json], set[str]]] = {
    "CancelKeyDeletion": (StrictKms._cancel_key_deletion, {"KeyId"}),
    "CreateAlias": (StrictKms._create_alias, {"AliasName", "TargetKeyId"}),
    "CreateKey": (StrictKms._create_key, {"Description", "KeySpec", "KeyUsage", "Origin", "MultiRegion", "Tags"}),
    "Decrypt": (StrictKms._decrypt, {"KeyId", "CiphertextBlob", "EncryptionContext"}),
    "DeleteAlias": (StrictKms._delete_alias, {"AliasName"}),
    "DeleteImportedKeyMaterial": (StrictKms._delete_imported_key_material, {"KeyId", "KeyMaterialId"}),
    "DescribeKey": (StrictKms._describe_key, {"KeyId"}),
    "Encrypt": (StrictKms._encrypt, {"KeyId", "Plaintext", "EncryptionContext"}),
    "GetParametersForImport": (
        StrictKms._get_parameters_for_import,
        {"KeyId", "WrappingAlgorithm", "WrappingKeySpec"},
    ),
    "ImportKeyMaterial": (
        StrictKms._import_key_material,
        {"KeyId", "ImportToken", "EncryptedKeyMaterial", "ExpirationModel", "ValidTo"},
    ),
    "ListKeyRotations": (StrictKms._list_key_rotations, {"KeyId", "IncludeKeyMaterial", "Marker"}),
    "ListKeys": (StrictKms._list_keys, {"Limit", "Marker"}),
    "ScheduleKeyDeletion": (StrictKms._schedule_key_deletion, {"KeyId", "PendingWindowInDays"}),
    "UpdateKeyDescription": (StrictKms._update_key_description, {"KeyId", "Description"}),
}
