"""Reading documents and destroying keys are kept apart, whatever else is attached to either identity.

Asked of the policies in the template, by the rules of `permissions`; `test_deployed` shows that a service that takes
the template has exactly these policies.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

import pytest

from tests.infra.calls import KMS_RIGHTS, S3_RIGHTS, actions_of, calls_made
from tests.infra.permissions import Identity, Request, allowed
from tests.infra.templates import ACCOUNT, DEPLOYER, Template

VAULT = Template()
BUCKET_POLICY: Final = VAULT.resource("BucketPolicy")["PolicyDocument"]
BUCKET: Final = f"arn:aws:s3:::{VAULT.resource('Bucket')['BucketName']}"
KEY: Final = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/6f9d8a52-0f6a-4a53-9a6e-0c1d2e3f4a5b"
ALIAS: Final = f"arn:aws:kms:us-east-1:{ACCOUNT}:alias/shredvault-active-01"
OURS: Final = {"aws:ResourceTag/shredvault": "shredvault-"}
NEW_KEY: Final = {
    "aws:RequestTag/shredvault": "shredvault-",
    "kms:KeyOrigin": "EXTERNAL",
    "kms:KeySpec": "SYMMETRIC_DEFAULT",
    "kms:MultiRegion": "false",
}
IF_ABSENT: Final = {"s3:if-none-match": "*"}
EVERYTHING: Final = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


def role(name: str, *more: Mapping[str, Any]) -> Identity:
    properties = VAULT.resource(name)
    assert properties["PermissionsBoundary"] == f"arn:aws:iam::{ACCOUNT}:policy/shredvault-boundary"
    own = tuple(policy["PolicyDocument"] for policy in properties["Policies"])
    return Identity(VAULT.role_arn(name), own + more, VAULT.resource("Boundary")["PolicyDocument"])


API = role("ApiRole")
DESTROYER = role("DestroyerRole")
OVERFED = {"api": role("ApiRole", EVERYTHING), "destroyer": role("DestroyerRole", EVERYTHING)}
BOUNDED = Identity(f"arn:aws:iam::{ACCOUNT}:role/third", (EVERYTHING,), VAULT.resource("Boundary")["PolicyDocument"])
ADMINISTRATOR = Identity(f"arn:aws:iam::{ACCOUNT}:role/administrator", (EVERYTHING,))


def may(identity: Identity, action: str, resource: str, context: Mapping[str, str] | None = None) -> bool:
    return allowed(identity, Request(action, resource, context or {}), BUCKET_POLICY)


def kms(action: str, context: Mapping[str, str] = OURS) -> Request:
    return Request(action, KEY, context)


def shown(request: Request) -> str:
    return f"{request.action} {request.resource.rpartition(':')[2]}"


# --- what each does ---------------------------------------------------------------------------------------

RECLAIMED = ("documents", "records", "keystore", "lists")
LOOKS = [
    Request("s3:GetBucketVersioning", BUCKET),
    Request("s3:ListBucket", BUCKET),
    Request("s3:ListBucketVersions", BUCKET),
    Request("kms:ListKeys", "*"),
    # Of any key: a master is found by its description.
    Request("kms:DescribeKey", KEY),
    Request("kms:ListKeyRotations", KEY),
    kms("kms:Decrypt"),
    kms("kms:Encrypt"),
    Request("s3:GetObject", f"{BUCKET}/keystore/active/0000000000000001"),
    Request("s3:GetObject", f"{BUCKET}/ledger/1"),
    Request("s3:GetObject", f"{BUCKET}/lists/x"),
]
API_DOES = [
    *LOOKS,
    *(
        Request(f"s3:{action}", f"{BUCKET}/{prefix}/x")
        for action in ("AbortMultipartUpload", "GetObject", "PutObject")
        for prefix in ("documents", "records")
    ),
    Request("s3:PutObject", f"{BUCKET}/keystore/active/0000000000000002", IF_ABSENT),
    Request("s3:PutObject", f"{BUCKET}/ledger/2", IF_ABSENT),
]
DESTROYER_DOES = [
    *LOOKS,
    Request("s3:ListBucketMultipartUploads", BUCKET),
    *(Request("s3:AbortMultipartUpload", f"{BUCKET}/{prefix}/x") for prefix in RECLAIMED),
    *(Request("s3:DeleteObjectVersion", f"{BUCKET}/{prefix}/x") for prefix in RECLAIMED),
    *(Request("s3:GetObjectRetention", f"{BUCKET}/{prefix}/x") for prefix in RECLAIMED),
    *(Request("s3:GetObjectLegalHold", f"{BUCKET}/{prefix}/x") for prefix in RECLAIMED),
    *(Request("s3:PutObject", f"{BUCKET}/{prefix}/x") for prefix in ("keystore", "ledger", "lists")),
    Request("kms:CreateKey", "*", NEW_KEY),
    Request("kms:TagResource", KEY, NEW_KEY),
    *(kms(f"kms:{name}") for name in ("CreateAlias", "DeleteAlias", "GetParametersForImport", "ImportKeyMaterial")),
    *(kms(f"kms:{name}") for name in ("DeleteImportedKeyMaterial", "ScheduleKeyDeletion")),
    *(kms(f"kms:{name}") for name in ("CancelKeyDeletion", "UpdateKeyDescription")),
    Request("kms:CreateAlias", ALIAS),
    Request("kms:DeleteAlias", ALIAS),
]
NOT_NEEDED = {
    "create_bucket": "the template makes the bucket, so `init` finds it",
    "put_bucket_versioning": "the template turns versioning on, so `init` finds it on",
}


@pytest.mark.parametrize("request_", API_DOES, ids=shown)
def test_the_api_may_do_its_work(request_: Request) -> None:
    assert allowed(API, request_, BUCKET_POLICY)


@pytest.mark.parametrize("request_", DESTROYER_DOES, ids=shown)
def test_the_destroyer_may_do_its_work(request_: Request) -> None:
    assert allowed(DESTROYER, request_, BUCKET_POLICY)


def test_every_call_the_product_makes_is_provided_for() -> None:
    s3 = calls_made("s3", ["vault/objects"])
    kms_calls = calls_made("kms", ["keystore/custodians/awskms*.py", "keystore/custodians/awskms"])
    assert len(s3) > 10
    assert s3 <= set(S3_RIGHTS), "a call to S3 that the roles were not asked about"
    assert kms_calls <= set(KMS_RIGHTS), "a call to KMS that the roles were not asked about"

    granted = {request.action for request in API_DOES + DESTROYER_DOES}
    needed = {S3_RIGHTS[call] for call in s3 - set(NOT_NEEDED)} | set(KMS_RIGHTS.values())
    assert needed - granted == set()


# --- what each cannot do ----------------------------------------------------------------------------------

READS = [
    Request(f"s3:{action}", f"{BUCKET}/{prefix}/x")
    for action in ("GetObject", "GetObjectVersion", "GetObjectAttributes", "GetObjectVersionForReplication")
    for prefix in ("documents", "records")
]
ENDS = [
    *(kms(f"kms:{name}") for name in ("DeleteImportedKeyMaterial", "ScheduleKeyDeletion", "DisableKey", "DeleteAlias")),
    # Importing other material under a key's name, or taking away its tag, ends its use as well.
    *(kms(f"kms:{name}") for name in ("ImportKeyMaterial", "GetParametersForImport", "UntagResource", "UpdateAlias")),
    kms("kms:UpdateKeyDescription"),
    *(
        Request(f"s3:{action}", f"{BUCKET}/{prefix}/x")
        for action in ("DeleteObject", "DeleteObjectVersion")
        for prefix in (*RECLAIMED, "ledger")
    ),
]
GOVERNS = [
    *(kms(f"kms:{name}") for name in ("PutKeyPolicy", "CreateGrant")),
    *(
        Request(f"s3:{name}", BUCKET)
        for name in (
            "DeleteBucketPolicy",
            "PutBucketPolicy",
            "PutBucketPublicAccessBlock",
            "PutBucketVersioning",
            "PutLifecycleConfiguration",
            "PutReplicationConfiguration",
        )
    ),
    Request("iam:PutRolePolicy", API.arn),
    Request("iam:DeleteRolePermissionsBoundary", DESTROYER.arn),
    Request("sts:AssumeRole", DESTROYER.arn),
]


@pytest.mark.parametrize("identity", [API, OVERFED["api"]], ids=["as made", "with everything attached"])
@pytest.mark.parametrize("request_", ENDS, ids=shown)
def test_the_api_ends_nothing(identity: Identity, request_: Request) -> None:
    assert not allowed(identity, request_, BUCKET_POLICY)


@pytest.mark.parametrize("identity", [DESTROYER, OVERFED["destroyer"]], ids=["as made", "with everything attached"])
@pytest.mark.parametrize("request_", READS, ids=shown)
def test_the_destroyer_reads_no_document(identity: Identity, request_: Request) -> None:
    assert not allowed(identity, request_, BUCKET_POLICY)


def test_nobody_within_the_boundary_does_both() -> None:
    def reads_and_ends(identity: Identity) -> tuple[bool, bool]:
        reads = any(allowed(identity, request, BUCKET_POLICY) for request in READS)
        return reads, any(allowed(identity, request, BUCKET_POLICY) for request in ENDS)

    assert reads_and_ends(OVERFED["api"]) == (True, False)
    assert reads_and_ends(OVERFED["destroyer"]) == (False, True)
    assert reads_and_ends(BOUNDED) == (False, False)


@pytest.mark.parametrize("request_", GOVERNS, ids=shown)
def test_neither_changes_who_may_do_what(request_: Request) -> None:
    for identity in (API, DESTROYER, BOUNDED, *OVERFED.values()):
        assert not allowed(identity, request_, BUCKET_POLICY)


def test_a_role_that_somebody_else_makes_in_the_account_gets_at_no_object() -> None:
    """The bucket's policy binds it too; what remains to an administrator are the policies and KMS themselves."""
    for request in (*READS, *ENDS, *GOVERNS):
        if request.resource.startswith(BUCKET):
            assert not allowed(ADMINISTRATOR, request, BUCKET_POLICY), request
    assert not may(ADMINISTRATOR, "s3:PutObject", f"{BUCKET}/documents/x")

    assert may(ADMINISTRATOR, "iam:PutRolePolicy", API.arn)
    assert may(ADMINISTRATOR, "kms:ScheduleKeyDeletion", KEY)


def test_only_the_deployer_changes_the_bucket() -> None:
    deployer = Identity(DEPLOYER, (EVERYTHING,))
    for request in GOVERNS:
        if request.resource == BUCKET:
            assert allowed(deployer, request, BUCKET_POLICY)
            assert not allowed(ADMINISTRATOR, request, BUCKET_POLICY)
    for request in READS:
        assert not allowed(deployer, request, BUCKET_POLICY)


def test_nobody_deletes_from_the_ledger() -> None:
    for identity in (API, DESTROYER, *OVERFED.values(), ADMINISTRATOR, Identity(DEPLOYER, (EVERYTHING,))):
        for action in ("s3:DeleteObject", "s3:DeleteObjectVersion"):
            assert not may(identity, action, f"{BUCKET}/ledger/1")


# --- the conditions ---------------------------------------------------------------------------------------


def test_the_api_writes_over_no_pack() -> None:
    pack = f"{BUCKET}/keystore/active/0000000000000002"
    assert may(API, "s3:PutObject", pack, IF_ABSENT)
    assert not may(API, "s3:PutObject", pack)


def test_keys_of_others_are_out_of_reach() -> None:
    for request in (*API_DOES, *DESTROYER_DOES):
        if request.resource == KEY and request.context == OURS:
            for identity in (API, DESTROYER):
                for theirs in ({}, {"aws:ResourceTag/shredvault": "another-vault"}):
                    assert not may(identity, request.action, KEY, theirs)
    assert not may(DESTROYER, "kms:DeleteAlias", f"arn:aws:kms:us-east-1:{ACCOUNT}:alias/payroll")


@pytest.mark.parametrize(
    "change",
    [
        {"kms:KeyOrigin": "AWS_KMS"},
        {"kms:MultiRegion": "true"},
        {"kms:KeySpec": "RSA_4096"},
        {"aws:RequestTag/shredvault": "another-vault"},
    ],
    ids=str,
)
def test_only_keys_that_can_die_at_once_are_made(change: dict[str, str]) -> None:
    assert may(DESTROYER, "kms:CreateKey", "*", NEW_KEY)
    assert not may(DESTROYER, "kms:CreateKey", "*", NEW_KEY | change)


@pytest.mark.parametrize(
    "context",
    [{"aws:SecureTransport": "false"}, {"s3:TlsVersion": "1.1"}, {"aws:SourceVpce": "vpce-00000000"}],
    ids=str,
)
def test_objects_are_reached_over_new_tls_and_the_endpoint_only(context: dict[str, str]) -> None:
    document, pack = f"{BUCKET}/documents/x", f"{BUCKET}/keystore/active/0000000000000002"
    assert may(API, "s3:GetObject", document)
    assert not may(API, "s3:GetObject", document, context)
    assert not may(API, "s3:PutObject", document, context)
    assert not may(DESTROYER, "s3:GetObject", pack, context)


def test_both_identities_are_taken_by_machines_only() -> None:
    for name in ("ApiRole", "DestroyerRole"):
        [statement] = VAULT.resource(name)["AssumeRolePolicyDocument"]["Statement"]
        assert statement["Principal"] == {"Service": "ec2.amazonaws.com"}
        assert statement["Action"] == "sts:AssumeRole"


def test_the_policies_fit_into_what_aws_takes() -> None:
    """IAM counts characters without white space: 6144 of a managed policy, 10,240 of a role's own; S3 takes 20 KiB."""

    def size(document: object) -> int:
        return len(json.dumps(document, separators=(",", ":")))

    assert size(VAULT.resource("Boundary")["PolicyDocument"]) < 6144
    for name in ("ApiRole", "DestroyerRole"):
        assert sum(size(policy["PolicyDocument"]) for policy in VAULT.resource(name)["Policies"]) < 10_240
    assert size(BUCKET_POLICY) < 20 * 1024


# --- that this reader can see a hole ----------------------------------------------------------------------


@pytest.mark.parametrize("without", ["OnlyTheApiReadsDocuments", "ReadsNoDocuments"])
def test_a_wall_that_is_taken_out_is_noticed(without: str) -> None:
    """Each of the three walls alone keeps the destroyer from documents; with none of them it would read."""

    def keep(policy: Mapping[str, Any], *names: str) -> dict[str, Any]:
        return {**policy, "Statement": [s for s in policy["Statement"] if s["Sid"] not in names]}

    bare = Identity(DESTROYER.arn, tuple(keep(p, "ReadsNoDocuments") for p in OVERFED["destroyer"].policies[:1]))
    bare = Identity(bare.arn, (*bare.policies, EVERYTHING))
    open_bucket = keep(BUCKET_POLICY, "OnlyTheApiReadsDocuments")
    assert allowed(bare, READS[0], open_bucket)

    if without == "ReadsNoDocuments":
        assert not allowed(bare, READS[0], BUCKET_POLICY)
    else:
        assert DESTROYER.boundary is not None
        assert not allowed(Identity(bare.arn, bare.policies, DESTROYER.boundary), READS[0], open_bucket)
        assert not allowed(Identity(bare.arn, (*DESTROYER.policies, EVERYTHING)), READS[0], open_bucket)


def test_the_operations_named_here_exist() -> None:
    assert set(S3_RIGHTS) <= actions_of("s3")
    assert set(KMS_RIGHTS) <= actions_of("kms")
