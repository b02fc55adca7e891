"""Sealing against raw AES-256-GCM, and the product's pipeline (inspection, padding, sealing) apart."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from keystore import Key, Sealer, sealed_size
from tests.bench.results import Row, interleaved
from tests.bench.scale import founding_in
from vault.access import Caller, Role, authenticate, create_token
from vault.context import Vault
from vault.home import found_vault, open_vault
from vault.ids import new_id
from vault.records.documents import padme
from vault.records.filing import open_record
from vault.records.sheets import document_context
from vault.records.uploads import Upload, begin_upload

__all__ = ["SIZES", "measure"]

SIZES: Final = {"64 KiB": 64 * 1024, "300 KB": 300_000, "2 MB": 2_000_000, "20 MB": 20_000_000}
GOAL: Final = 0.6
_ARRIVING_BYTES: Final = 64 * 1024
"""The pieces in which a body arrives from the HTTP server."""
_SECTION: Final = "Sealing"


def measure(*, quick: bool) -> Iterator[Row]:
    """Rows for every size; the runs of the three candidates take turns."""
    pairs, seconds = (5, 0.02) if quick else (21, 0.06)
    with TemporaryDirectory(prefix="bench-") as folder, _vault(Path(folder)) as (vault, caller, record):
        for label, size in SIZES.items():
            body = b"%PDF-" + os.urandom(size - 10) + b"%%EOF"
            raw, seal, pipeline = _raw(body), _sealing(body), _pipeline(vault, caller, record, body)
            rates: tuple[list[float], ...] = ([], [], [])
            for _ in range(pairs):
                for run, kept in zip((raw, seal, pipeline), rates, strict=True):
                    kept.append(size / _time_of(run, seconds))
            yield _row(f"Sealer, {label}", rates[1], rates[0], GOAL)
            yield _row(f"whole pipeline, {label}", rates[2], rates[0], None)


def _row(what: str, ours: list[float], theirs: list[float], goal: float | None) -> Row:
    ratios = interleaved(ours, theirs)
    return Row(
        _SECTION,
        what,
        f"{statistics.median(ours) / 1e9:.2f} GB/s",
        f"AES-256-GCM {statistics.median(theirs) / 1e9:.2f} GB/s",
        f"{ratios.median:.2f}",
        ratios.spread,
        f"≥ {goal}" if goal else "none",
        ratios.median >= goal if goal else None,
    )


def _time_of(run: Callable[[], object], seconds: float) -> float:
    """Seconds of one run: the mean over as many as fit into `seconds`."""
    run()
    count, begun = 0, time.perf_counter()
    while (spent := time.perf_counter() - begun) < seconds or not count:
        run()
        count += 1
    return spent / count


def _raw(body: bytes) -> Callable[[], object]:
    """One call of AES-256-GCM for the whole body into one buffer.

    The cipher is made from its key in the time, as with ours: every document has a key of its own.
    """
    key, nonce, out = os.urandom(32), os.urandom(12), bytearray(len(body) + 16)

    def run() -> None:
        AESGCM(key).encrypt_into(nonce, body, None, out)

    return run


def _sealing(body: bytes) -> Callable[[], object]:
    """The sealing primitive on the whole body: its context, key derivation, commitment and end included."""
    key, out = Key.generate(), bytearray(sealed_size(len(body)))
    vault_id, record, document = os.urandom(16), new_id(), new_id()

    def run() -> None:
        sealer = Sealer(key, document_context(vault_id, record, document))  # type: ignore[arg-type]
        count = sealer.update_into(body, out)
        out[count:] = sealer.finish()

    return run


def _pipeline(vault: Vault, caller: Caller, record: str, body: bytes) -> Callable[[], object]:
    """What an upload does with the bytes: SHA-256, type, sealing piece by piece, padding; nothing is sent."""
    pieces = [body[start : start + _ARRIVING_BYTES] for start in range(0, len(body), _ARRIVING_BYTES)]
    upload = begin_upload(vault, caller, record, "scan", declared_size=len(body), declared_type=None)
    key = Key.generate()

    def run() -> None:
        _rewind(upload, key)
        for piece in pieces:
            if upload.part_is_full:
                upload._filled = 0
            upload.add(piece)
        upload._inspection.finish()
        if padme(len(body) + 1) - len(body) + upload._filled > len(upload._out):
            upload._filled = 0
        upload._pad(len(body))
        assert upload._sealer is not None
        upload._sealer.finish()

    return run


def _rewind(upload: Upload, key: Key) -> None:
    """Make a fresh document of an upload, so that opening the record and the catalogue are not in the time."""
    upload._inspection = type(upload._inspection)()
    upload._sealer = Sealer(key, document_context(upload._vault.vault_id, upload.record_id, upload.document_id))
    upload._filled = 0


@contextmanager
def _vault(folder: Path) -> Iterator[tuple[Vault, Caller, str]]:
    found_vault(founding_in(folder))
    with open_vault(folder / "home") as vault:
        caller = authenticate(vault, create_token(vault, Role.CENTER, "benchmark"))
        opened = open_record(vault, caller, idempotency_key="benchmark", applicant={}, body=b"{}")
        yield vault, caller, opened.record_id
