"""The CloudFormation template: linted, deployed to an emulator, and every setting read back from there.

Emulators drop settings without a word. What this one drops is listed in `DROPPED`, and checked to be dropped, so that
the list cannot grow unseen and shrinks when the emulator learns. What it drops is then sent by a call of its own.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from botocore.exceptions import ClientError
from cfnlint.api import lint_file

from tests.infra.cloud import client, running_cloud
from tests.infra.templates import PARAMETERS, TEMPLATE, Template

VAULT = Template()
BUCKET: Final = VAULT.resource("Bucket")["BucketName"]
ROLES: Final = {"ApiRole": "shredvault-api", "DestroyerRole": "shredvault-destroyer"}
STACK: Final = "vault"

DROPPED: Final = {
    ("Bucket", "LifecycleConfiguration"),
    ("ApiRole", "PermissionsBoundary"),
    ("DestroyerRole", "PermissionsBoundary"),
}


def test_the_linter_finds_nothing() -> None:
    assert lint_file(TEMPLATE) == []


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[str]:
    """The template, deployed with every optional part."""
    with running_cloud(tmp_path) as url:
        formation = client("cloudformation", url)
        formation.create_stack(
            StackName=STACK,
            TemplateBody=TEMPLATE.read_text("utf-8"),
            Capabilities=["CAPABILITY_NAMED_IAM"],
            Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in PARAMETERS.items()],
        )
        formation.get_waiter("stack_create_complete").wait(
            StackName=STACK, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
        )
        yield url


def lifecycle_of(s3: Any) -> Any:
    try:
        return s3.get_bucket_lifecycle_configuration(Bucket=BUCKET)["Rules"]
    except ClientError as refused:
        if refused.response["Error"]["Code"] != "NoSuchLifecycleConfiguration":
            raise
        return None


def read_back(url: str) -> dict[tuple[str, str], Any]:
    """Every setting that the services give back, in the words of the template."""
    s3, iam = client("s3", url), client("iam", url)
    seen: dict[tuple[str, str], Any] = {
        ("Bucket", "BucketName"): BUCKET if s3.head_bucket(Bucket=BUCKET) else None,
        ("Bucket", "VersioningConfiguration"): {"Status": s3.get_bucket_versioning(Bucket=BUCKET)["Status"]},
        ("Bucket", "PublicAccessBlockConfiguration"): s3.get_public_access_block(Bucket=BUCKET)[
            "PublicAccessBlockConfiguration"
        ],
        ("Bucket", "OwnershipControls"): s3.get_bucket_ownership_controls(Bucket=BUCKET)["OwnershipControls"],
        ("Bucket", "BucketEncryption"): {
            "ServerSideEncryptionConfiguration": [
                {"ServerSideEncryptionByDefault": rule["ApplyServerSideEncryptionByDefault"]}
                for rule in s3.get_bucket_encryption(Bucket=BUCKET)["ServerSideEncryptionConfiguration"]["Rules"]
            ]
        },
        ("BucketPolicy", "PolicyDocument"): json.loads(s3.get_bucket_policy(Bucket=BUCKET)["Policy"]),
        ("BucketPolicy", "Bucket"): BUCKET,
    }
    if lifecycle := lifecycle_of(s3):
        seen["Bucket", "LifecycleConfiguration"] = lifecycle
    for name, role_name in ROLES.items():
        role = iam.get_role(RoleName=role_name)["Role"]
        for setting in ("RoleName", "Description", "AssumeRolePolicyDocument"):
            seen[name, setting] = role[setting]
        if "PermissionsBoundary" in role:
            seen[name, "PermissionsBoundary"] = role["PermissionsBoundary"]["PermissionsBoundaryArn"]
        seen[name, "Policies"] = [
            {
                "PolicyName": policy,
                "PolicyDocument": iam.get_role_policy(RoleName=role_name, PolicyName=policy)["PolicyDocument"],
            }
            for policy in iam.list_role_policies(RoleName=role_name)["PolicyNames"]
        ]
        assert iam.list_attached_role_policies(RoleName=role_name)["AttachedPolicies"] == []
    for name, role_name in {"ApiProfile": "shredvault-api", "DestroyerProfile": "shredvault-destroyer"}.items():
        profile = iam.get_instance_profile(InstanceProfileName=role_name)["InstanceProfile"]
        seen[name, "InstanceProfileName"] = profile["InstanceProfileName"]
        seen[name, "Roles"] = [role["RoleName"] for role in profile["Roles"]]
    [policy] = iam.list_policies(Scope="Local")["Policies"]
    seen["Boundary", "ManagedPolicyName"] = policy["PolicyName"]
    version = iam.get_policy_version(PolicyArn=policy["Arn"], VersionId=policy["DefaultVersionId"])
    seen["Boundary", "PolicyDocument"] = version["PolicyVersion"]["Document"]
    return seen


def test_every_setting_is_read_back(cloud: str) -> None:
    wanted = {(name, setting): value for name in VAULT.resources() for setting, value in VAULT.resource(name).items()}
    seen = read_back(cloud)

    assert set(wanted) - set(seen) == DROPPED
    assert set(seen) <= set(wanted)
    for setting, value in seen.items():
        assert value == wanted[setting], setting


def test_what_the_emulator_drops_is_taken_by_the_services_themselves(cloud: str) -> None:
    s3, iam = client("s3", cloud), client("iam", cloud)
    for name, role_name in ROLES.items():
        boundary = VAULT.resource(name)["PermissionsBoundary"]
        iam.put_role_permissions_boundary(RoleName=role_name, PermissionsBoundary=boundary)
        assert iam.get_role(RoleName=role_name)["Role"]["PermissionsBoundary"]["PermissionsBoundaryArn"] == boundary
    abort, expire = VAULT.resource("Bucket")["LifecycleConfiguration"]["Rules"]
    assert expire.pop("NoncurrentVersionExpiration") == {"NoncurrentDays": "7"}  # CloudFormation makes it a number
    expire["NoncurrentVersionExpiration"] = {"NoncurrentDays": 7}
    rules = [{"ID": rule.pop("Id"), "Filter": {"Prefix": ""}, **rule} for rule in (abort, expire)]
    s3.put_bucket_lifecycle_configuration(Bucket=BUCKET, LifecycleConfiguration={"Rules": rules})
    assert lifecycle_of(s3) == rules


def test_a_deleted_stack_leaves_the_records_where_they_are(cloud: str) -> None:
    s3, formation = client("s3", cloud), client("cloudformation", cloud)
    s3.put_object(Bucket=BUCKET, Key="documents/one", Body=b"sealed")
    formation.delete_stack(StackName=STACK)
    formation.get_waiter("stack_delete_complete").wait(StackName=STACK, WaiterConfig={"Delay": 1, "MaxAttempts": 60})

    with pytest.raises(ClientError, match="NoSuchEntity"):
        client("iam", cloud).get_role(RoleName="shredvault-api")
    assert s3.get_object(Bucket=BUCKET, Key="documents/one")["Body"].read() == b"sealed"
    assert json.loads(s3.get_bucket_policy(Bucket=BUCKET)["Policy"]) == VAULT.resource("BucketPolicy")["PolicyDocument"]
