"""Every call the product makes to S3 and KMS, found in its source, and the rights that AWS asks for each."""

import ast
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import botocore.session
from botocore import xform_name

__all__ = ["KMS_RIGHTS", "S3_RIGHTS", "actions_of", "calls_made"]

_ROOT: Final = Path(__file__).parents[2]

S3_RIGHTS: Final = {
    "abort_multipart_upload": "s3:AbortMultipartUpload",
    "complete_multipart_upload": "s3:PutObject",
    "create_bucket": "s3:CreateBucket",
    "create_multipart_upload": "s3:PutObject",
    "delete_object": "s3:DeleteObjectVersion",  # of a version of our own
    "delete_objects": "s3:DeleteObjectVersion",  # each with its version
    "get_bucket_versioning": "s3:GetBucketVersioning",
    "get_object": "s3:GetObject",
    "get_object_legal_hold": "s3:GetObjectLegalHold",
    "get_object_retention": "s3:GetObjectRetention",
    "head_bucket": "s3:ListBucket",
    "head_object": "s3:GetObject",
    "list_multipart_uploads": "s3:ListBucketMultipartUploads",
    "list_object_versions": "s3:ListBucketVersions",
    "list_objects_v2": "s3:ListBucket",
    "put_bucket_versioning": "s3:PutBucketVersioning",
    "put_object": "s3:PutObject",
    "upload_part": "s3:PutObject",
}
"""From "Required permissions for Amazon S3 API operations" in the S3 user guide."""

KMS_RIGHTS: Final = {
    "cancel_key_deletion": "kms:CancelKeyDeletion",
    "create_alias": "kms:CreateAlias",
    "create_key": "kms:CreateKey",
    "decrypt": "kms:Decrypt",
    "delete_alias": "kms:DeleteAlias",
    "delete_imported_key_material": "kms:DeleteImportedKeyMaterial",
    "describe_key": "kms:DescribeKey",
    "encrypt": "kms:Encrypt",
    "get_parameters_for_import": "kms:GetParametersForImport",
    "import_key_material": "kms:ImportKeyMaterial",
    "list_key_rotations": "kms:ListKeyRotations",
    "list_keys": "kms:ListKeys",
    "schedule_key_deletion": "kms:ScheduleKeyDeletion",
    "update_key_description": "kms:UpdateKeyDescription",
}
"""From "AWS KMS permissions" in the KMS developer guide."""


def actions_of(service: str) -> set[str]:
    """The names of all operations of a service, as boto3 calls them."""
    return {xform_name(name) for name in botocore.session.get_session().get_service_model(service).operation_names}


def calls_made(service: str, sources: Iterable[str]) -> set[str]:
    """Operations of a service that these files and folders call, or name to a paginator."""
    known, found = actions_of(service), set()
    for source in sources:
        place = _ROOT / source
        for path in place.rglob("*.py") if place.is_dir() else place.parent.glob(place.name):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                    found |= {node.func.attr} & known
                    found |= {a.value for a in node.args if isinstance(a, ast.Constant) and a.value in known}
    return found
