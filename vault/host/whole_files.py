"""Files that are there whole or not at all."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from vault.errors import CatalogueFullError

__all__ = ["partial_of", "replace_database", "sync_folder", "write_json", "write_text"]


def partial_of(path: Path) -> Path:
    """Where a file is written before it takes its place."""
    return path.with_suffix(".partial")


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a file of mode 0600. Durable when this returns."""
    write_text(path, json.dumps(content, indent=2))


def write_text(path: Path, text: str) -> None:
    """Write a file of mode 0600. Durable when this returns."""
    partial = partial_of(path)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    partial.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_database(fresh: Path, old: Path, aside: Path) -> None:
    """Replace an SQLite file that nobody has open, and keep the old one, if there is one, under another name.

    There is always one at its place: a rebuild that is begun again takes the access tokens over from there.

    Raises:
        CatalogueFullError: the fresh one could not be written whole; nothing was replaced.
    """
    log = Path(f"{fresh}-wal")
    if log.exists() and log.stat().st_size:
        # SQLite closes in silence when it could not write its log into the file, which lacks all that is in there.
        message = "The disk under the catalogue is full or cannot be written; the new catalogue was not put in place."
        raise CatalogueFullError(message)
    with suppress(FileNotFoundError):
        try:
            aside.hardlink_to(old)
        except OSError:
            # A file system without hard links: for a moment there is none.
            old.rename(aside)
    for suffix in ("-wal", "-shm"):
        # Another file's log must not be there when the fresh one is opened. Whoever read the old one emptied it.
        with suppress(FileNotFoundError):
            Path(f"{old}{suffix}").rename(f"{aside}{suffix}")
    fresh.rename(old)
    sync_folder(old.parent)
