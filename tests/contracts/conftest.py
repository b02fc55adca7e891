"""The services that contracts are tested against."""

from tests.services.object_stores import object_store, own_store, proxy, real_store, seaweedfs
from tests.services.softhsm import soft_token, softhsm

__all__ = ["object_store", "own_store", "proxy", "real_store", "seaweedfs", "soft_token", "softhsm"]
