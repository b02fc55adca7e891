"""The AWS KMS custodian: one KMS key per master, whose material was made here and imported (origin EXTERNAL).

A key that KMS made itself takes 7 to 30 days to delete and can be brought back meanwhile. Imported material is
deleted at once by `DeleteImportedKeyMaterial`, and by KMS itself at `ValidTo`.

How a master is found. The alias `alias/<prefix><name>` is made last, so that a name is taken by one creator and
means a whole master. The key's description, set as it is created, names the master too: through it a key whose alias
was never made, was removed or points elsewhere is found by looking through all keys. A key is the master only
where both agree. A key that was emptied by us is described so before its deletion is scheduled; any other key
in deletion is taken to have its material, since its deletion can be cancelled. For a destruction that mark does not
count: whoever administers the account can write it too.

What a wrap is: the key's id (16 bytes), a tag (32 bytes), KMS's ciphertext. The tag is keyed with the root key itself
and covers all the rest, so what KMS answers is checked rather than believed. With the id, a destroyed master is tried
at the very key, also when its alias is gone. The encryption context, which AWS writes to its logs in the clear, has the
master's name and a SHA-512 of what the wrap is bound to; both are opaque outside the vault.

What stays in memory: botocore turns the root key into base64 and JSON, and back, in objects that Python never
overwrites. They last until their memory is used again or the process ends. The material of a master is wiped.
"""

from __future__ import annotations

import hashlib
import re
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Final

from keystore.errors import (
    CustodianError,
    CustodianUnavailableError,
    MasterExistsError,
    MasterGoneError,
    SealBrokenError,
)
from keystore.sealing import context, derive_tag
from keystore.secret import KEY_BYTES, Key

from .awskms_client import (
    AliasTakenError,
    Answer,
    CiphertextRefusedError,
    KeyMissingError,
    KeyUnusableError,
    Kms,
    Place,
)
from .awskms_import import import_fresh_material
from .awskms_key import KmsKey, all_keys, empty, has_material, look, settled
from .contract import Assurance, MasterState

__all__ = ["AwsKmsCustodian"]

DELETION_DAYS: Final = 7
"""The shortest that KMS allows. Only an empty key waits so long."""

_NAME: Final = re.compile(r"[a-z0-9-]{1,64}")
_ID_BYTES: Final = 16
_TAG_BYTES: Final = 32
_CIPHERTEXT_BYTES_MAX: Final = 6144
_PROOF: Final = b"proof that a new master works"


class AwsKmsCustodian:
    """Keeps masters at AWS KMS. See `Custodian` for the contract of each method."""

    def __init__(self, place: Place, kms: Kms, *, sleep: Callable[[float], None] = time.sleep) -> None:
        """Keep masters at `place`, through `kms`; `sleep` waits between two looks at a service that lags."""
        self._place = place
        self._kms = kms
        self._sleep = sleep

    @classmethod
    def from_uri(cls, uri: str) -> AwsKmsCustodian:
        """Open `awskms:REGION?prefix=…&valid-days=…&endpoint=…`; credentials come from boto3's ordinary chain.

        Raises:
            CustodianError: not such a URI, or boto3 cannot be configured. Nothing has been sent yet.
        """
        place = Place.from_uri(uri)
        return cls(place, Kms(place))

    @property
    def uri(self) -> str:
        """The URI as it was given; it has no secrets."""
        return self._place.uri

    @property
    def assurance(self) -> Assurance:
        """A service's assurance: AWS's word, and what was seen from outside."""
        return Assurance(
            kind="service",
            takes_effect="at once; the key's state is read back and its use is tried until it is refused steadily",
            can_be_cancelled=False,
            copies=(
                "Imported key material exists in AWS KMS only; it was made in memory, wiped after the import, and "
                "neither it nor its wrapped form was stored. That AWS KMS keeps no copy of deleted material is "
                "AWS's word and cannot be seen from outside."
            ),
        )

    @property
    def ends_masters(self) -> bool:
        """See `Custodian.ends_masters`: at `ValidTo`."""
        return True

    def create(self, name: str, ends_at: datetime | None = None) -> None:
        """See `Custodian.create`. KMS deletes the material at `ends_at`, or after `valid-days` if that is sooner."""
        alias = self._alias(name)
        if look(self._kms, alias) is not None:
            raise _exists(name)
        made = self._kms.ask(
            "create_key",
            Description=self._described(name),
            KeySpec="SYMMETRIC_DEFAULT",
            KeyUsage="ENCRYPT_DECRYPT",
            Origin="EXTERNAL",
            MultiRegion=False,
            Tags=[{"TagKey": "shredvault", "TagValue": self._place.prefix}],
        )["KeyMetadata"]
        key_id = str(made["KeyId"])
        try:
            # KMS's own clock: ours may be wrong, and a master must not end early for that.
            begins = made["CreationDate"]
            valid_to = begins + timedelta(days=self._place.valid_days)
            self._furnish(name, key_id, begins, min(valid_to, ends_at or valid_to))
        except CustodianError as failed:
            try:
                self._bury(name, [key_id])
            except CustodianError as left:
                message = (
                    f"The creation of the master {name} was cut off, and its key {key_id} could not be removed. It "
                    f"wraps nothing; destroying the master removes it. First: {failed} Then: {left}"
                )
                raise CustodianUnavailableError(message) from left
            if isinstance(failed, AliasTakenError):
                raise _exists(name) from failed
            raise

    def _furnish(self, name: str, key_id: str, begins: datetime, valid_to: datetime) -> None:
        if valid_to <= begins:
            message = f"By the clock of KMS the master {name} would have ended before it was made."
            raise CustodianError(message)
        slow = f"KMS does not show the new key of the master {name} yet. The call may be repeated."
        settled(lambda: look(self._kms, key_id) is not None, self._sleep, slow)
        import_fresh_material(self._kms, key_id, valid_to)
        settled(lambda: _is_enabled(look(self._kms, key_id)), self._sleep, slow)
        key = look(self._kms, key_id)
        if key is None or key.valid_to is None or key.valid_to > valid_to:
            message = f"KMS did not take the end of validity of the master {name}."
            raise CustodianError(message)
        key.check_kind()
        self._kms.ask("create_alias", AliasName=self._alias(name), TargetKeyId=key_id)
        settled(lambda: key.is_seen_as(look(self._kms, self._alias(name))), self._sleep, slow)
        settled(lambda: self._works(name), self._sleep, slow)

    def _works(self, name: str) -> bool:
        try:
            with Key.generate() as key, self.unwrap(name, self.wrap(name, key, _PROOF), _PROOF) as seen:
                return key.same_as(seen)
        except (MasterGoneError, KeyMissingError, KeyUnusableError, SealBrokenError):
            return False

    def wrap(self, name: str, key: Key, bound_to: bytes) -> bytes:
        """See `Custodian.wrap`. Key id, tag, ciphertext: about 220 bytes."""
        key.reveal()
        master = self._master(name)
        try:
            answer = self._kms.ask(
                "encrypt", KeyId=master.key_id, Plaintext=key.reveal(), EncryptionContext=_context(name, bound_to)
            )
        except (KeyMissingError, KeyUnusableError) as refused:
            raise self._why(name) from refused
        if not master.is_named_by(answer["KeyId"]):
            message = f"KMS encrypted with another key than that of the master {name}."
            raise CustodianError(message)
        head = uuid.UUID(master.key_id).bytes
        ciphertext: bytes = answer["CiphertextBlob"]
        return head + _tag(key, name, head, bound_to, ciphertext) + ciphertext

    def unwrap(self, name: str, wrapped: bytes, bound_to: bytes) -> Key:
        """See `Custodian.unwrap`."""
        alias = self._alias(name)
        head, tag = wrapped[:_ID_BYTES], wrapped[_ID_BYTES : _ID_BYTES + _TAG_BYTES]
        ciphertext = wrapped[_ID_BYTES + _TAG_BYTES :]
        if not 0 < len(ciphertext) <= _CIPHERTEXT_BYTES_MAX:
            self._master(name)
            raise SealBrokenError
        key_id = str(uuid.UUID(bytes=head))
        request = {"CiphertextBlob": ciphertext, "EncryptionContext": _context(name, bound_to)}
        try:
            answer = self._kms.ask("decrypt", KeyId=alias, **request)
        except CiphertextRefusedError as refused:
            # Said only after a look at the alias: one that points elsewhere refuses everything.
            self._master(name)
            raise SealBrokenError from refused
        except KeyUnusableError as refused:
            raise self._why(name) from refused
        except KeyMissingError as missing:
            self._try_without_alias(name, key_id, request)
            raise self._why(name) from missing
        return _opened(answer, name, key_id, head, tag, bound_to, ciphertext)

    def _try_without_alias(self, name: str, key_id: str, request: Answer) -> None:
        # The absence of an alias is no evidence: the key itself is asked.
        with suppress(KeyMissingError, KeyUnusableError, CiphertextRefusedError):
            self._kms.ask("decrypt", KeyId=key_id, **request)
            message = f"The master {name} has no alias any more, and its key {key_id} still decrypts."
            raise CustodianError(message)
        # Nor is a refusal: somebody may have disabled the key, or scheduled its deletion, and can undo both. What its
        # description says counts only where `destroy` finds it by that, and so has emptied it.
        left = look(self._kms, key_id)
        if left is not None and (has_material(self._kms, left) or self._is_hidden(name, left)):
            message = (
                f"The master {name} has no alias any more, and its key {key_id} ({left.state}) still has its material, "
                "or may have. Cancel its deletion if it is to be deleted, see that its description is "
                f"`{self._described(name)}`, and repeat."
            )
            raise CustodianError(message)

    def _is_hidden(self, name: str, key: KmsKey) -> bool:
        return key.state == "PendingDeletion" and not self._is_mine(name, key)

    def describe(self, name: str) -> MasterState:
        """See `Custodian.describe`. LIVE while any key of that name has, or may have, material; disabled included."""
        keys = self._keys(name).values()
        return MasterState.LIVE if any(has_material(self._kms, key) for key in keys) else MasterState.ABSENT

    def expires_at(self, name: str) -> datetime:
        """See `Custodian.expires_at`: the `ValidTo` that KMS reports."""
        key = look(self._kms, self._alias(name))
        if key is None or not self._is_mine(name, key) or not has_material(self._kms, key):
            raise self._why(name)
        key.check_kind()
        if key.valid_to is None:
            message = f"KMS does not say when the master {name} ends."
            raise CustodianError(message)
        return key.valid_to.astimezone(UTC)

    def destroy(self, name: str) -> None:
        """See `Custodian.destroy`.

        Every key of that name is emptied of all its material, with proof; then marked, its alias removed, and the
        empty key scheduled for deletion. Cut off anywhere, a repeat finds the rest.
        """
        alias = self._alias(name)
        self._bury(name, list(self._keys(name)))
        target = look(self._kms, alias)
        if target is not None and not self._is_mine(name, target):
            message = (
                f"The alias {alias} points to the key {target.key_id}, which is not of the master {name} and was left "
                "as it is. All keys of the master itself are destroyed. Remove the alias and repeat."
            )
            raise CustodianError(message)
        settled(
            lambda: self.describe(name) is MasterState.ABSENT,
            self._sleep,
            f"KMS still shows the master {name} after its destruction. Repeat.",
        )

    def _bury(self, name: str, key_ids: list[str]) -> None:
        # 1. all material of every key; 2. the mark, which says that this was seen; 3. the alias; 4. the empty key
        for key_id in key_ids:
            empty(self._kms, key_id, self._sleep)
        for key_id in key_ids:
            with suppress(KeyMissingError, KeyUnusableError):
                self._kms.ask("update_key_description", KeyId=key_id, Description=self._described(name, emptied=True))
        target = look(self._kms, self._alias(name))
        if target is not None and target.key_id in key_ids:
            with suppress(KeyMissingError):
                self._kms.ask("delete_alias", AliasName=self._alias(name))
        for key_id in key_ids:
            with suppress(KeyMissingError, KeyUnusableError):
                self._kms.ask("schedule_key_deletion", KeyId=key_id, PendingWindowInDays=DELETION_DAYS)

    def names(self) -> frozenset[str]:
        """See `Custodian.names`. Found by description, so a master without its alias is named too."""
        head = self._described("")
        return frozenset(
            key.master_after(head)
            for key in all_keys(self._kms)
            if _NAME.fullmatch(key.master_after(head)) and has_material(self._kms, key)
        )

    def _alias(self, name: str) -> str:
        if not _NAME.fullmatch(name):
            message = "A master's name has 1 to 64 of a-z, 0-9 and -."
            raise CustodianError(message)
        return f"alias/{self._place.prefix}{name}"

    def _described(self, name: str, *, emptied: bool = False) -> str:
        # Spaces part the fields: neither a prefix nor a name has one.
        return f"Shredvault master {self._place.prefix} {name}{' emptied' if emptied else ''}"

    def _is_mine(self, name: str, key: KmsKey) -> bool:
        return key.master_after(self._described("")) == name

    def _keys(self, name: str) -> dict[str, KmsKey]:
        """All keys described as this master's, by id; the alias is followed too, since lists lag."""
        at = look(self._kms, self._alias(name))
        found = [*all_keys(self._kms), *([] if at is None else [at])]
        return {key.key_id: key for key in found if self._is_mine(name, key)}

    def _master(self, name: str) -> KmsKey:
        """The key that can be used now.

        Raises:
            MasterGoneError, CustodianError, CustodianUnavailableError: there is none, and why.
        """
        key = look(self._kms, self._alias(name))
        if key is None or not self._is_mine(name, key) or key.state != "Enabled":
            raise self._why(name)
        key.check_kind()
        return key

    def _why(self, name: str) -> CustodianError:
        """Find out why a master cannot be used. Only the certain absence of all material is called gone."""
        alias = self._alias(name)
        at = look(self._kms, alias)
        left = [key for key in self._keys(name).values() if has_material(self._kms, key)]
        if at is not None and not self._is_mine(name, at):
            return CustodianError(
                f"The alias {alias} has been pointed to the key {at.key_id}, which is not of the master {name}."
            )
        if not left:
            return MasterGoneError(f"There is no master named {name}: KMS has no key material for it (any more).")
        if at is None:
            return CustodianError(f"The alias {alias} is gone; the key {left[0].key_id} of the master {name} is not.")
        return _unusable(name, left[0])


def _exists(name: str) -> MasterExistsError:
    return MasterExistsError(f"A master named {name} exists already.")


def _unusable(name: str, key: KmsKey) -> CustodianError:
    """Say why a key that has material is not used."""
    if key.state == "PendingDeletion":
        return CustodianError(
            f"Somebody has scheduled the deletion of the key {key.key_id} of the master {name}. It still has its "
            "material: cancel the deletion at KMS before its date, or the master is lost."
        )
    if key.state == "Disabled":
        return CustodianError(
            f"The key {key.key_id} of the master {name} is disabled, not destroyed. Enable it at KMS."
        )
    if key.state == "PendingImport":
        return CustodianError(f"The key {key.key_id} of the master {name} lacks a part of its material.")
    return CustodianUnavailableError(f"KMS does not use the key of the master {name} now ({key.state}). Repeat.")


def _is_enabled(key: KmsKey | None) -> bool:
    return key is not None and key.state == "Enabled"


def _context(name: str, bound_to: bytes) -> dict[str, str]:
    return {"shredvault-master": name, "shredvault-bound-to": hashlib.sha512(bound_to).hexdigest()}


def _tag(key: Key, name: str, head: bytes, bound_to: bytes, ciphertext: bytes) -> bytes:
    label = "shredvault awskms wrap v1"
    return derive_tag(key, context(label, name.encode("ascii"), head, bound_to, ciphertext), _TAG_BYTES)


def _opened(answer: Answer, name: str, key_id: str, head: bytes, tag: bytes, bound_to: bytes, ciphertext: bytes) -> Key:
    buffer = bytearray(answer["Plaintext"])
    if len(buffer) != KEY_BYTES:
        raise SealBrokenError
    key = Key(buffer)
    named = str(answer["KeyId"]).rpartition("/")[2]
    if named != key_id or _tag(key, name, head, bound_to, ciphertext) != tag:
        key.wipe()
        raise SealBrokenError
    return key
