"""The domain's errors. One table in `api.http.problems` and one in `api.cli` map them outward.

Messages are sentences for people; they never repeat what was submitted. The key store's errors are passed on
here under their own names, because `api` does not import `keystore`.
"""

from __future__ import annotations

from keystore import (
    CustodianError,
    CustodianUnavailableError,
    KeyGraphError,
    KeystoreError,
    MasterGoneError,
    SealBrokenError,
)

__all__ = [
    "BadDocumentError",
    "BusyError",
    "CatalogueError",
    "CatalogueFullError",
    "CertificateRefusedError",
    "CustodianError",
    "CustodianUnavailableError",
    "DamagedError",
    "DestroyedError",
    "DestructionRefusedError",
    "DocumentConflictError",
    "DocumentTooLargeError",
    "DocumentTruncatedError",
    "EmptyDocumentError",
    "HoldRefusedError",
    "HomeError",
    "IdempotencyConflictError",
    "KeyGraphError",
    "KeystoreError",
    "LedgerBrokenError",
    "MasterGoneError",
    "MasterMissingError",
    "NotApprovedError",
    "NotCanonicalError",
    "NotFoundError",
    "OldCatalogueError",
    "OrderRefusedError",
    "PolicyError",
    "RecordClosedError",
    "RecordIncompleteError",
    "RecordsAreKeptError",
    "RuleBrokenError",
    "SealBrokenError",
    "SealedOffError",
    "SignaturesUnavailableError",
    "TimeSuspectError",
    "TooManyDocumentsError",
    "UnsupportedTypeError",
    "VaultError",
]


class VaultError(Exception):
    """Anything the vault refuses or cannot do."""


class DamagedError(VaultError):
    """A stored document or a key is missing or altered: an incident, never a destruction."""


class LedgerBrokenError(DamagedError):
    """The ledger, or what claims to be a part of it, contradicts itself or what was signed: an incident."""


class PolicyError(VaultError):
    """The policy is invalid."""


class NotCanonicalError(VaultError):
    """A document that people sign is not written in the one canonical way."""


class OrderRefusedError(VaultError):
    """An order, or a signature on it, gives no authority; nothing was done. The message says why."""


class NotApprovedError(OrderRefusedError):
    """The policy does not carry the approvals without which nothing is destroyed under it."""

    def __init__(self, lacking: str) -> None:
        self.lacking = lacking
        super().__init__(
            f"Nothing is destroyed: the policy in force is not approved by {lacking}. Filing goes on. Draft a policy "
            "with `shredvault policy draft`, have it signed, and put it in force with `shredvault policy adopt`."
        )


class SignaturesUnavailableError(VaultError):
    """`ssh-keygen`, which makes and verifies signatures, cannot be run on this machine."""

    def __init__(self) -> None:
        super().__init__("Signatures cannot be verified: ssh-keygen does not run here. Install openssh-client.")


class HoldRefusedError(VaultError):
    """A hold cannot be placed or changed like that; it is as it was."""


class HomeError(VaultError):
    """The home folder or its settings cannot be used."""


class CatalogueError(VaultError):
    """The database cannot be used now."""


class CatalogueFullError(CatalogueError):
    """The disk under the database is full, or the file system read-only."""


class RuleBrokenError(CatalogueError):
    """The schema forbids the change; the caller finds out why."""


class BusyError(VaultError):
    """Somebody else changes the same thing; try again."""


class NotFoundError(VaultError):
    """There is no such record or document for this caller."""


class DestroyedError(VaultError):
    """The record has been condemned or destroyed."""

    def __init__(self, destruction_id: str) -> None:
        super().__init__(f"This record was destroyed by destruction {destruction_id}.")
        self.destruction_id = destruction_id


class SealedOffError(VaultError):
    """The deadline of the program is over: the record awaits its destruction, and nobody reads it any more (S7)."""

    def __init__(self) -> None:
        super().__init__("This record is sealed off: the program's deadline is over, and it awaits its destruction.")


class IdempotencyConflictError(VaultError):
    """The idempotency key was used before with another body."""


class RecordClosedError(VaultError):
    """The record is complete; nothing can be added."""


class RecordIncompleteError(VaultError):
    """The record cannot be completed: it has no document."""


class RecordsAreKeptError(VaultError):
    """A decision does not end a record here: the program keeps records (P3)."""

    def __init__(self) -> None:
        super().__init__("This program keeps records for the time that its policy names; a decision does not end that.")


class DocumentConflictError(VaultError):
    """A document of this name, with other bytes, is in the record already."""


class TooManyDocumentsError(VaultError):
    """The record has as many documents as it may."""


class BadDocumentError(VaultError):
    """What was sent is not an acceptable document."""


class EmptyDocumentError(BadDocumentError):
    """The file is empty."""


class DocumentTooLargeError(BadDocumentError):
    """The file is larger than the limit."""


class UnsupportedTypeError(BadDocumentError):
    """The file is none of the accepted types, by its first bytes."""


class DocumentTruncatedError(BadDocumentError):
    """The file ends too early to be whole."""


class DestructionRefusedError(VaultError):
    """A destruction cannot go ahead; nothing has been destroyed."""


class TimeSuspectError(DestructionRefusedError):
    """Nobody can say what time it is, so nothing may be condemned (T5)."""

    def __init__(self, why: str) -> None:
        super().__init__(
            f"Nothing was destroyed: the time is suspect. {why} Filing goes on. `shredvault time show` says how it is "
            "cleared, which needs the records officer and the auditor."
        )


class CertificateRefusedError(VaultError):
    """There can be no certificate of this: something was not observed. The message says what."""


class OldCatalogueError(DestructionRefusedError):
    """The catalogue is older than the bucket: a restored backup, or a standby that lagged."""

    def __init__(self) -> None:
        super().__init__(
            "The catalogue is older than the bucket: it seems to have been restored from a backup. "
            "Nothing was changed; `shredvault rebuild` brings it forward."
        )


class MasterMissingError(DamagedError):
    """The custodian answers and does not have the master that is in use: it is another one, or the master is lost."""

    def __init__(self, master: str, custodian: str) -> None:
        super().__init__(
            f"The master key in use, {master}, is not at its custodian {custodian}. Nothing was changed. See that it "
            "is the right one (`shredvault custodian show`): that its disk is mounted, that it is the same token or "
            "server. Then run `shredvault recover`. No `rebuild` brings a master key back."
        )
