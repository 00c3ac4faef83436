"""References between parts of a template."""

from collections.abc import Sequence
from typing import Any

Json = dict[str, Any]

# Resources are kept when the stack is deleted or they are renamed. Those that a failed deployment
# has created are deleted, so that they can be created again.
RETAINED = {"DeletionPolicy": "RetainExceptOnCreate", "UpdateReplacePolicy": "Retain"}


def arn(logical_name: str) -> Json:
    """The ARN of a resource."""
    return {"Fn::GetAtt": [logical_name, "Arn"]}


def secret(name: str) -> Json:
    """The value, when deploying, of the secret that a parameter or resource names."""
    return {"Fn::Sub": f"{{{{resolve:secretsmanager:${{{name}}}:SecretString}}}}"}


def allow(actions: list[str], resources: Sequence[Json | str] | str) -> Json:
    """A policy statement that allows actions."""
    return {"Effect": "Allow", "Action": actions, "Resource": resources}


def is_given(parameter: str) -> Json:
    """Whether a parameter of the template is not empty."""
    return {"Fn::Not": [{"Fn::Equals": [{"Ref": parameter}, ""]}]}
