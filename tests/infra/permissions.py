"""Who may do what: the rules of AWS by which policies are put together, as far as our policies use them.

An explicit Deny anywhere wins; then the identity's own policies AND its boundary must allow it. (AWS: "Policy
evaluation logic" in the IAM user guide; requests within one account.) Our KMS keys have the key policy that KMS
gives them, which leaves everything to IAM. Whatever our policies do not use is refused here, so that a policy which
this reader would misread cannot pass.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

__all__ = ["Identity", "Request", "allowed"]

_STATEMENT: Final = {"Sid", "Effect", "Principal", "Action", "Resource", "Condition"}
_CONTEXT: Final = {
    "aws:SecureTransport": "true",
    "s3:TlsVersion": "1.3",
    "aws:SourceVpce": "vpce-0a1b2c3d",
}


@dataclass(frozen=True)
class Identity:
    """A role with all that is attached to it."""

    arn: str
    policies: tuple[Mapping[str, Any], ...]
    boundary: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Request:
    """One permission that is asked for. `context` adds to what every honest request has."""

    action: str
    resource: str
    context: Mapping[str, str] = field(default_factory=dict)


def allowed(identity: Identity, request: Request, resource_policy: Mapping[str, Any]) -> bool:
    """Whether AWS would say yes. `resource_policy` is the bucket's and may hold denials only."""
    context = _CONTEXT | {"aws:PrincipalArn": identity.arn} | dict(request.context)
    own = [verdict for policy in identity.policies for verdict in _verdicts(policy, request, context)]
    limits = ["Allow"] if identity.boundary is None else _verdicts(identity.boundary, request, context)
    at_resource = _verdicts(resource_policy, request, context)
    assert "Allow" not in at_resource
    return "Deny" not in own + limits + at_resource and "Allow" in own and "Allow" in limits


def _verdicts(policy: Mapping[str, Any], request: Request, context: Mapping[str, str]) -> list[str]:
    assert policy["Version"] == "2012-10-17"
    return [
        statement["Effect"]
        for statement in policy["Statement"]
        if _speaks_of(statement, request)
        and all(
            _holds(operator, key, _listed(wanted), context)
            for operator, keys in statement.get("Condition", {}).items()
            for key, wanted in keys.items()
        )
    ]


def _speaks_of(statement: Mapping[str, Any], request: Request) -> bool:
    assert set(statement) <= _STATEMENT, statement
    assert statement["Effect"] in ("Allow", "Deny")
    assert statement.get("Principal", "*") == "*"
    return any(_matches(one, request.action, re.IGNORECASE) for one in _listed(statement["Action"])) and any(
        _matches(one, request.resource) for one in _listed(statement["Resource"])
    )


def _holds(operator: str, key: str, wanted: list[str], context: Mapping[str, str]) -> bool:
    """One condition. A key that the request does not have fulfils the negated operators only."""
    value = context.get(key)
    match operator:
        case "StringEquals":
            return value in wanted
        case "StringNotEquals":
            return value not in wanted
        case "ArnNotEquals":
            return value is None or not any(_matches(one, value) for one in wanted)
        case "Bool":
            return value in wanted and value in ("true", "false")
        case "NumericLessThan":
            return value is not None and any(float(value) < float(one) for one in wanted)
        case _:
            raise ValueError(f"The condition operator {operator} is not known here.")


def _matches(pattern: str, text: str, flags: re.RegexFlag = re.NOFLAG) -> bool:
    expression = "".join({"*": ".*", "?": "."}.get(sign, re.escape(sign)) for sign in pattern)
    return re.fullmatch(expression, text, flags) is not None


def _listed(value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    assert all(isinstance(one, str) for one in values), values
    return values
