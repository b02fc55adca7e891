"""The CloudFormation template as CloudFormation would see it: parameters put in, functions worked out."""

import re
from pathlib import Path
from typing import Any, Final

from cfnlint.decode import decode

__all__ = ["ACCOUNT", "DEPLOYER", "PARAMETERS", "TEMPLATE", "Template"]

TEMPLATE: Final = Path(__file__).parents[2] / "infra" / "cloudformation" / "shredvault.yaml"
ACCOUNT: Final = "000000000000"
DEPLOYER: Final = f"arn:aws:iam::{ACCOUNT}:role/deployer"
PARAMETERS: Final = {
    "BucketName": "id-documents",
    "DeployerArn": DEPLOYER,
    "VpcEndpointId": "vpce-0a1b2c3d",
    "NoncurrentDays": "7",
}
"""With these every optional part of the template is there."""

_PSEUDO: Final = {"AWS::Partition": "aws", "AWS::AccountId": ACCOUNT, "AWS::Region": "us-east-1"}
_ABSENT: Final = object()


class Template:
    """The template with its parameters put in. A function it does not know is an error, not left as it is."""

    def __init__(self, parameters: dict[str, str] = PARAMETERS) -> None:
        content, faults = decode(str(TEMPLATE))
        assert content is not None
        assert not faults
        self._content: dict[str, Any] = content
        defaults = {name: str(p["Default"]) for name, p in content["Parameters"].items() if "Default" in p}
        self._known = _PSEUDO | defaults | parameters
        assert set(content["Parameters"]) <= set(self._known)
        self._names = {
            "Bucket": self._known["BucketName"],
            "Boundary": f"arn:aws:iam::{ACCOUNT}:policy/{self._known['VaultName']}-boundary",
            "ApiRole": f"{self._known['VaultName']}-api",
            "DestroyerRole": f"{self._known['VaultName']}-destroyer",
        }

    def resource(self, name: str) -> dict[str, Any]:
        """A resource's properties."""
        worked_out: dict[str, Any] = self._work_out(self._content["Resources"][name]["Properties"])
        return worked_out

    def attribute(self, name: str, attribute: str) -> Any:
        """What stands beside the properties, such as DeletionPolicy."""
        return self._content["Resources"][name].get(attribute)

    def resources(self) -> set[str]:
        """Names of all resources whose condition holds."""
        return {
            name
            for name, resource in self._content["Resources"].items()
            if "Condition" not in resource or self._holds(resource["Condition"])
        }

    def role_arn(self, name: str) -> str:
        """ARN of a role of the template."""
        return f"arn:aws:iam::{ACCOUNT}:role/{self._names[name]}"

    def _work_out(self, node: Any) -> Any:
        if isinstance(node, list):
            return [value for value in map(self._work_out, node) if value is not _ABSENT]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            [(function, argument)] = node.items()
            if function == "Ref" or function.startswith("Fn::"):
                return self._call(function, argument)
        return {name: value for name, part in node.items() if (value := self._work_out(part)) is not _ABSENT}

    def _call(self, function: str, argument: Any) -> Any:
        match function:
            case "Ref":
                return _ABSENT if argument == "AWS::NoValue" else self._ref(argument)
            case "Fn::Sub":
                return re.sub(r"\$\{([\w:.]+)\}", lambda found: self._ref(found[1]), argument)
            case "Fn::GetAtt":
                return self._ref(".".join(argument))
            case "Fn::If":
                condition, then, otherwise = argument
                return self._work_out(then if self._holds(condition) else otherwise)
            case _:
                raise ValueError(f"The function {function} is not known here.")

    def _ref(self, name: str) -> str:
        if name == "Bucket.Arn":
            return f"arn:aws:s3:::{self._names['Bucket']}"
        return str(self._known[name] if name in self._known else self._names[name])

    def _holds(self, condition: Any) -> bool:
        if isinstance(condition, str):
            return self._holds(self._content["Conditions"][condition])
        [(function, argument)] = condition.items()
        if function == "Fn::Not":
            return not self._holds(argument[0])
        assert function == "Fn::Equals"
        first, second = (str(self._work_out(one)) for one in argument)
        return bool(first == second)
