"""The services that contracts are tested against."""

from tests.services.ministack import ministack
from tests.services.object_stores import object_store, own_store, proxy, real_store, seaweedfs
from tests.services.openbao import engine, openbao, own_openbao
from tests.services.softhsm import soft_token, softhsm

__all__ = [
    "engine",
    "ministack",
    "object_store",
    "openbao",
    "own_openbao",
    "own_store",
    "proxy",
    "real_store",
    "seaweedfs",
    "soft_token",
    "softhsm",
]
