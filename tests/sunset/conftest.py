"""Vaults whose program ends on a date."""

from tests.orders.conftest import (
    blank_catalogue,
    databases,
    new_world,
    postgresql,
    postgresql_with_blank,
    quick_world,
    scratch,
)

__all__ = ["blank_catalogue", "databases", "new_world", "postgresql", "postgresql_with_blank", "quick_world", "scratch"]
