"""Whole templates."""

from collections.abc import Mapping
from typing import Any

from decanter.deployment import alarms, budget, dashboard, gateway
from decanter.deployment.references import RETAINED, Json
from decanter.deployment.stage import Stage
from decanter.deployment.template import front, functions, parameters, queues


def build(stage: Stage) -> Json:
    """The merge template of a stage."""
    return {
        "Parameters": {
            **parameters.parameters(stage),
            **queues.parameters(stage.drain_seconds),
            **alarms.parameters(budget.OVERLAP * budget.total(stage)),
        },
        "Conditions": {**parameters.conditions(), **alarms.conditions()},
        "Resources": {
            **queues.resources(stage.prefix),
            **front.resources(stage),
            **alarms.resources(stage, stage.prefix),
            **dashboard.resources(stage, stage.prefix),
            "ReceiptKey": _RECEIPT_KEY,
            # In the API's definition, as a change of it makes API Gateway deploy the stage again.
            "RestAPI": {
                "Properties": {
                    "TracingEnabled": True,
                    "DefinitionBody": {
                        **gateway.definition(stage.authentication, stage.cors_origin),
                        # The API's name: the only dimension of its metrics that differs by stage.
                        "info": {"title": stage.prefix},
                    },
                }
            },
            **functions.resources(stage),
        },
        "Outputs": {
            **queues.outputs(),
            **front.outputs(stage),
            **{each.output: {"Value": {"Ref": each.logical}} for each in stage.functions},
            "DashboardName": {"Value": {"Ref": "Dashboard"}},
            "ReceiptKeySecret": {"Condition": "OwnReceiptKey", "Value": {"Ref": "ReceiptKey"}},
        },
    }


def of_queues(stage: Stage, application: str, api: str) -> Json:
    """The template of the queues, front table, alarms and dashboard for ``chalice deploy``.

    application: prefix of the functions' names. api: the name of the API.
    """
    names = {each.logical: each.deployed_name(application) for each in stage.functions}
    names |= {f"{logical}Logs": f"/aws/lambda/{name}" for logical, name in names.items()}
    monitoring = {**alarms.resources(stage, api), **dashboard.resources(stage, api)}
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": f"Queues and alarms of {stage.prefix}, for chalice deploy.",
        "Parameters": {
            **queues.parameters(stage.drain_seconds),
            **alarms.parameters(budget.OVERLAP * budget.total(stage)),
        },
        "Conditions": alarms.conditions(),
        "Resources": {
            **queues.resources(stage.prefix),
            **front.resources(stage),
            **_named(monitoring, names),
        },
        "Outputs": {**queues.outputs(), **front.outputs(stage)},
    }


_RECEIPT_KEY = {
    "Type": "AWS::SecretsManager::Secret",
    "Condition": "OwnReceiptKey",
    # Kept, as it verifies the receipts that clients hold.
    **RETAINED,
    "Properties": {
        "Description": "Signs the receipts of accepted writes.",
        "GenerateSecretString": {"PasswordLength": 64, "ExcludePunctuation": True},
    },
}


def _named(part: Any, names: Mapping[str, str]) -> Any:
    """A part of a template with names of functions and logs in place of references to them."""
    match part:
        case {"Ref": name} if name in names:
            return names[name]
        case {"Fn::Sub": str(text)}:
            for name, shown in names.items():
                text = text.replace(f"${{{name}}}", shown)
            return {"Fn::Sub": text}
        case dict():
            return {name: _named(each, names) for name, each in part.items()}
        case list():
            return [_named(each, names) for each in part]
    return part
