"""How the S3 client is built, and the part of it that is used.

It is botocore's client: what boto3 adds to one (transfers by threads of their own) is not used, and takes long to
import. Botocore brings no types. The two protocols below name what we call, so that `Any` stays in the answers (nested
dictionaries whose shape the S3 API reference gives) and does not spread.
"""

# ruff: noqa: D102  # the S3 API reference describes the calls

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Protocol, TypeAlias, cast

import botocore.loaders
import botocore.session
from botocore.config import Config
from pydantic import SecretStr

__all__ = ["S3", "Answer", "BucketSettings", "Pages", "clients"]

CONNECT_TIMEOUT_SECONDS: Final = 3.0
READ_TIMEOUT_SECONDS: Final = 30.0
CONNECTIONS_MAX: Final = 64
ATTEMPTS: Final = 3

Answer: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True)
class BucketSettings:
    """Where the bucket is and how we speak to it. `repr` hides the secret key.

    `endpoint_url` is None for AWS itself. An endpoint that is named gets path addressing and is spoken to
    directly: no proxy from the environment. `read_timeout_s` bounds each wait for bytes, not a whole body:
    whoever keeps sending, however slowly, is waited for. `attempts` counts the first try.
    """

    endpoint_url: str | None
    region: str
    bucket: str
    access_key: str
    """Empty: the identity of this process, as botocore finds it (environment, container, instance)."""
    secret_key: SecretStr
    connect_timeout_s: float = CONNECT_TIMEOUT_SECONDS
    read_timeout_s: float = READ_TIMEOUT_SECONDS
    max_connections: int = CONNECTIONS_MAX
    attempts: int = ATTEMPTS


class Pages(Protocol):
    """A paginator of botocore."""

    def paginate(self, **request: object) -> Iterable[Answer]: ...


class S3(Protocol):
    """The calls of the S3 client that we make; the S3 API reference describes them."""

    def abort_multipart_upload(self, **request: object) -> Answer: ...
    def complete_multipart_upload(self, **request: object) -> Answer: ...
    def create_bucket(self, **request: object) -> Answer: ...
    def create_multipart_upload(self, **request: object) -> Answer: ...
    def delete_object(self, **request: object) -> Answer: ...
    def delete_objects(self, **request: object) -> Answer: ...
    def get_bucket_versioning(self, **request: object) -> Answer: ...
    def get_object(self, **request: object) -> Answer: ...
    def get_object_legal_hold(self, **request: object) -> Answer: ...
    def get_object_retention(self, **request: object) -> Answer: ...
    def get_paginator(self, operation_name: str) -> Pages: ...
    def head_bucket(self, **request: object) -> Answer: ...
    def head_object(self, **request: object) -> Answer: ...
    def put_bucket_versioning(self, **request: object) -> Answer: ...
    def put_object(self, **request: object) -> Answer: ...
    def upload_part(self, **request: object) -> Answer: ...
    def close(self) -> None: ...


def clients(settings: BucketSettings) -> tuple[S3, S3]:
    """Two clients of one session: one that tries again, and one that sends each request once.

    Nothing is read from ~/.aws, from AWS_PROFILE or from AWS_ENDPOINT_URL, and the machine's metadata service
    is not asked.
    """
    session = botocore.session.Session(
        session_vars={
            "profile": (None, None, None, None),
            "config_file": (None, None, os.devnull, None),
            "credentials_file": (None, None, os.devnull, None),
        }
    )
    session.register_component("data_loader", _models())

    def client(attempts: int) -> S3:
        own_endpoint = settings.endpoint_url is not None
        config = Config(
            connect_timeout=settings.connect_timeout_s,
            read_timeout=settings.read_timeout_s,
            max_pool_connections=settings.max_connections,
            retries={"mode": "standard", "total_max_attempts": attempts},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            ignore_configured_endpoint_urls=True,
            proxies={} if own_endpoint else None,
            s3={"payload_signing_enabled": False, "addressing_style": "path" if own_endpoint else "virtual"},
        )
        return cast(
            "S3",
            session.create_client(
                "s3",
                region_name=settings.region,
                endpoint_url=settings.endpoint_url,
                aws_access_key_id=settings.access_key or None,
                aws_secret_access_key=settings.secret_key.get_secret_value() or None,
                config=config,
            ),
        )

    return client(settings.attempts), client(1)


@cache
def _models() -> object:
    """Botocore's descriptions of the S3 API: reading them takes longer than the rest of a client."""
    return botocore.loaders.create_loader(None)
