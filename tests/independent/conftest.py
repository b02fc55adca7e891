"""The object store that the product files into."""

from tests.services.object_stores import seaweedfs

__all__ = ["seaweedfs"]
