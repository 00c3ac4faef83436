"""How one part of a template refers to another."""

from typing import Any

Json = dict[str, Any]

# What is kept when its stack is deleted, or it gets another name. What a failed deployment had made
# is gone, so that it can be made again.
RETAINED = {"DeletionPolicy": "RetainExceptOnCreate", "UpdateReplacePolicy": "Retain"}


def arn(logical_name: str) -> Json:
    """The ARN of a resource."""
    return {"Fn::GetAtt": [logical_name, "Arn"]}


def secret(name: str) -> Json:
    """The value of the secret that the parameter or resource names, read when deploying."""
    return {"Fn::Sub": f"{{{{resolve:secretsmanager:${{{name}}}:SecretString}}}}"}


def allow(actions: list[str], resources: list[Json] | str) -> Json:
    """A statement of a policy."""
    return {"Effect": "Allow", "Action": actions, "Resource": resources}


def is_given(parameter: str) -> Json:
    """Whether a parameter of the template is not empty."""
    return {"Fn::Not": [{"Fn::Equals": [{"Ref": parameter}, ""]}]}
