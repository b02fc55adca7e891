"""A vault whose program runs for two years and ends on a date."""

from tests.vault.conftest import blank_catalogue, databases, scratch

__all__ = ["blank_catalogue", "databases", "scratch"]
