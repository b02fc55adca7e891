"""The database: an index over the bucket, plus transactions. Queries are split by subject."""

from __future__ import annotations

from .engine import Catalogue, Transaction

__all__ = ["Catalogue", "Transaction"]
