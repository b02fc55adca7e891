"""One key at KMS: what KMS says of it, whether it has material, and how it is emptied for certain.

A key can have several imported materials (rotation on demand); deleting any of them makes it PendingImport while
the others are still there. So a key counts as empty when every material listed is gone, and not by its state.
KMS is eventually consistent: nothing is concluded from one look.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from keystore.errors import CustodianError, CustodianUnavailableError

from .awskms_client import Answer, CiphertextRefusedError, KeyMissingError, KeyUnusableError, Kms, OperationUnknownError

__all__ = ["KmsKey", "all_keys", "empty", "has_material", "look", "settled"]

STABLE_AFTER: Final = 3
"""Looks in a row that must agree before an emptied key counts as empty."""

PAUSES_SECONDS: Final = (0.05, 0.1, 0.2, 0.4, 0.8, *(2.0,) * 14)
"""Half a minute in all; after that the operator repeats."""

_EMPTIED: Final = " emptied"
_PROBE: Final = b"a probe, not a secret"
_PROBE_CONTEXT: Final = {"shredvault-purpose": "probe"}


@dataclass(frozen=True, slots=True)
class KmsKey:
    """What `DescribeKey` said of a key."""

    key_id: str
    description: str
    state: str
    origin: str
    multi_region: bool
    custom_store: bool
    never_expires: bool
    valid_to: datetime | None

    def is_named_by(self, arn_or_id: str) -> bool:
        """Whether an answer names this key."""
        return arn_or_id.rpartition("/")[2] == self.key_id

    def is_seen_as(self, other: KmsKey | None) -> bool:
        """Whether `other` is another look at this key."""
        return other is not None and other.key_id == self.key_id

    def master_after(self, head: str) -> str:
        """The master's name in a description that begins with `head`; empty where it does not."""
        return self.description.removeprefix(head).removesuffix(_EMPTIED) if self.description.startswith(head) else ""

    @property
    def is_marked_empty(self) -> bool:
        """Whether this custodian saw it without material, and wrote so before it scheduled the deletion."""
        return self.description.endswith(_EMPTIED)

    def check_kind(self) -> None:
        """Refuse a key that cannot be destroyed at once.

        Raises:
            CustodianError: its material is not imported, has replicas, lies in a custom key store, or never ends.
        """
        wrong = (
            "has material that was not imported"
            if self.origin != "EXTERNAL" or self.custom_store
            else "is a multi-Region key, whose replicas have the material too"
            if self.multi_region
            else "has material without an end of validity"
            if self.never_expires
            else None
        )
        if wrong:
            message = f"The key {self.key_id} {wrong}: it is no master of Shredvault's."
            raise CustodianError(message)


def look(kms: Kms, key_or_alias: str) -> KmsKey | None:
    """Describe a key; None where KMS knows none."""
    try:
        said = kms.ask("describe_key", KeyId=key_or_alias)["KeyMetadata"]
    except KeyMissingError:
        return None
    return KmsKey(
        key_id=said["KeyId"],
        description=said.get("Description", ""),
        state=said["KeyState"],
        origin=said["Origin"],
        multi_region=bool(said.get("MultiRegion")),
        custom_store="CustomKeyStoreId" in said,
        never_expires=said.get("ExpirationModel") == "KEY_MATERIAL_DOES_NOT_EXPIRE",
        valid_to=said.get("ValidTo"),
    )


def all_keys(kms: Kms) -> Iterator[KmsKey]:
    """Every key of the account in this region. One that may not be described is an error: it could be a master."""
    for entry in kms.list("list_keys", "Keys", Limit=1000):
        key = look(kms, entry["KeyId"])
        if key is not None:
            yield key


def has_material(kms: Kms, key: KmsKey) -> bool:
    """Whether the key has, or may have, material. Only what is certain counts as empty."""
    if key.state == "PendingDeletion":
        return not key.is_marked_empty
    return key.state != "PendingImport" or bool(_imported(kms, key))


def settled(holds: Callable[[], bool], sleep: Callable[[float], None], otherwise: str, *, times: int = 1) -> None:
    """Look until `holds` was true `times` times in a row.

    Raises:
        CustodianUnavailableError: it was not, for half a minute; with `otherwise` as its sentence.
    """
    row = 0
    for pause in PAUSES_SECONDS:
        row = row + 1 if holds() else 0
        if row == times:
            return
        sleep(pause)
    raise CustodianUnavailableError(otherwise)


def empty(kms: Kms, key_id: str, sleep: Callable[[float], None]) -> None:
    """Delete all material of a key, and watch until it is gone for certain. Safe to repeat.

    Raises:
        CustodianError: the key is of a kind whose material cannot be deleted at once.
        CustodianUnavailableError: KMS still shows or uses material, or does not answer.
    """
    key = look(kms, key_id)
    if key is None:
        return
    if key.origin != "EXTERNAL" or key.custom_store or key.multi_region:
        message = f"The key {key_id} was not made by Shredvault, and its material cannot be deleted at once."
        raise CustodianError(message)
    still = f"KMS still shows or uses material of the key {key_id} after its deletion. Repeat."
    if key.state == "PendingDeletion":
        # Perhaps by somebody else, who could cancel it with the material still inside, whatever the description says.
        with suppress(KeyUnusableError):
            kms.ask("cancel_key_deletion", KeyId=key_id)
        settled(lambda: _state(kms, key_id) != "PendingDeletion", sleep, still)
    probe = _encrypted_probe(kms, key_id)
    settled(lambda: _is_empty(kms, key_id, probe), sleep, still, times=STABLE_AFTER)


def _is_empty(kms: Kms, key_id: str, probe: bytes | None) -> bool:
    key = look(kms, key_id)
    if key is None:
        return True
    imported = _imported(kms, key)
    for material in imported:
        with suppress(KeyMissingError, KeyUnusableError):
            kms.ask("delete_imported_key_material", KeyId=key_id, **material)
    if imported or key.state != "PendingImport":
        return False
    return _encrypted_probe(kms, key_id) is None and (probe is None or _is_refused(kms, key_id, probe))


def _imported(kms: Kms, key: KmsKey) -> list[Answer]:
    """What to delete, as arguments of `DeleteImportedKeyMaterial`; empty where nothing is left."""
    try:
        listed = list(
            kms.list("list_key_rotations", "Rotations", KeyId=key.key_id, IncludeKeyMaterial="ALL_KEY_MATERIAL")
        )
    except KeyMissingError:
        return []
    except OperationUnknownError:
        # A service that has no rotation of imported material has one material at most, which the state shows.
        listed = []
    named: list[Answer] = [
        {"KeyMaterialId": entry["KeyMaterialId"]} for entry in listed if entry.get("ImportState") != "PENDING_IMPORT"
    ]
    return named or ([] if key.state == "PendingImport" else [{}])


def _state(kms: Kms, key_id: str) -> str:
    key = look(kms, key_id)
    return "" if key is None else key.state


def _encrypted_probe(kms: Kms, key_id: str) -> bytes | None:
    """A probe under the key; None where KMS refuses to use it."""
    try:
        answer = kms.ask("encrypt", KeyId=key_id, Plaintext=_PROBE, EncryptionContext=_PROBE_CONTEXT)
    except (KeyMissingError, KeyUnusableError):
        return None
    ciphertext: bytes = answer["CiphertextBlob"]
    return ciphertext


def _is_refused(kms: Kms, key_id: str, probe: bytes) -> bool:
    try:
        kms.ask("decrypt", KeyId=key_id, CiphertextBlob=probe, EncryptionContext=_PROBE_CONTEXT)
    except (KeyMissingError, KeyUnusableError):
        return True
    except CiphertextRefusedError:
        # It was looked at with some material, of which KMS should have none.
        return False
    return False
