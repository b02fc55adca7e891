"""The database: an index over the bucket, plus transactions. Queries are split by subject."""

from __future__ import annotations

from . import holding, law, schema  # noqa: F401  # every table stands in the metadata, whoever looks at it
from .engine import Catalogue, Transaction
from .sqlite import sqlite_url

__all__ = ["Catalogue", "Transaction", "sqlite_url"]
