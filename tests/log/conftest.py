"""Vaults whose ledger is looked at."""

from tests.vault.conftest import (
    blank_catalogue,
    databases,
    new_world,
    postgresql,
    postgresql_with_blank,
    quick_world,
    scratch,
    seaweedfs,
)

__all__ = [
    "blank_catalogue",
    "databases",
    "new_world",
    "postgresql",
    "postgresql_with_blank",
    "quick_world",
    "scratch",
    "seaweedfs",
]
