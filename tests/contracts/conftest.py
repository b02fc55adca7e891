"""The services that contracts are tested against."""

from tests.services.ministack import ministack
from tests.services.object_stores import object_store, own_store, proxy, real_store, seaweedfs

__all__ = ["ministack", "object_store", "own_store", "proxy", "real_store", "seaweedfs"]
