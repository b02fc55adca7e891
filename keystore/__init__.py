"""Keys only: pages, trees, custodians, and the destruction of master keys.

Knows nothing of documents, HTTP or where blobs are stored. `keystore.destruction` is left out here on
purpose: one module of `vault` imports it by name, and an import contract keeps it that way.
"""

from __future__ import annotations

from .custodians import Ask, Assurance, Custodian, MasterState, open_custodian
from .errors import (
    CustodianError,
    CustodianUnavailableError,
    KeyGoneError,
    KeyGraphError,
    KeystoreError,
    MasterExistsError,
    MasterGoneError,
    SealBrokenError,
    TreeFullError,
    WrongOrderError,
)
from .graph import GraphReport, Verdict, check_graph
from .page import (
    COHORT_BITMAP_BYTES,
    COHORT_SLOTS,
    INDEX_SLOT,
    MAX_COHORTS,
    KeyPage,
    PageName,
    Tree,
    slots_of,
    slots_to_bitmap,
)
from .sealing import CHUNK_BYTES, Opener, Sealer, context, derive_tag, open_sealed, seal, sealed_size
from .secret import KEY_BYTES, Key, fill_random, wipe
from .tree import (
    EVERY_SLOT,
    NO_SLOT,
    OpenTree,
    PageLoader,
    Rewrite,
    SealedPage,
    SealedRoot,
    StagedTree,
    TreeChange,
    found,
    stage,
)

__all__ = [
    "CHUNK_BYTES",
    "COHORT_BITMAP_BYTES",
    "COHORT_SLOTS",
    "EVERY_SLOT",
    "INDEX_SLOT",
    "KEY_BYTES",
    "MAX_COHORTS",
    "NO_SLOT",
    "Ask",
    "Assurance",
    "Custodian",
    "CustodianError",
    "CustodianUnavailableError",
    "GraphReport",
    "Key",
    "KeyGoneError",
    "KeyGraphError",
    "KeyPage",
    "KeystoreError",
    "MasterExistsError",
    "MasterGoneError",
    "MasterState",
    "OpenTree",
    "Opener",
    "PageLoader",
    "PageName",
    "Rewrite",
    "SealBrokenError",
    "SealedPage",
    "SealedRoot",
    "Sealer",
    "StagedTree",
    "Tree",
    "TreeChange",
    "TreeFullError",
    "Verdict",
    "WrongOrderError",
    "check_graph",
    "context",
    "derive_tag",
    "fill_random",
    "found",
    "open_custodian",
    "open_sealed",
    "seal",
    "sealed_size",
    "slots_of",
    "slots_to_bitmap",
    "stage",
    "wipe",
]
