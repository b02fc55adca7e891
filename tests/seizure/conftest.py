"""The services that stages stand on."""

from tests.services.openbao import own_openbao
from tests.services.postgresql import postgresql
from tests.services.softhsm import soft_token, softhsm
from tests.vault.conftest import blank_catalogue, databases, postgresql_with_blank, scratch

__all__ = [
    "blank_catalogue",
    "databases",
    "own_openbao",
    "postgresql",
    "postgresql_with_blank",
    "scratch",
    "soft_token",
    "softhsm",
]
