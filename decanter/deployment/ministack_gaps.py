"""Parts of a template that MiniStack cannot create or leaves out."""

from collections.abc import Mapping
from typing import Any

from decanter.deployment import functions
from decanter.deployment.aws import Aws
from decanter.package import Package

LAYER = "ManagedLayer"  # Chalice's name for the dependencies


def remove_unsupported(document: dict[str, Any]) -> None:
    """Remove from a template the alarms on sums, which MiniStack cannot create, and the layer of
    dependencies: MiniStack runs functions with this interpreter, which has them all, and would
    unpack and compile 30 MB at each cold start (3 s instead of 0.5 s)."""
    for name, resource in [*document["Resources"].items()]:
        if resource["Type"] == "AWS::CloudWatch::Alarm" and "Metrics" in resource["Properties"]:
            del document["Resources"][name]
    document["Resources"].pop(LAYER, None)
    for resource in document["Resources"].values():
        resource.get("Properties", {}).pop("Layers", None)


def complete(aws: Aws, package: Package, outputs: Mapping[str, str]) -> None:
    """Set on a deployed stack what MiniStack's CloudFormation leaves out."""
    _reserve_concurrency(aws, package, outputs)
    if "RestAPIId" in outputs:
        _complete_api(aws, outputs["RestAPIId"], package)


def _reserve_concurrency(aws: Aws, package: Package, outputs: Mapping[str, str]) -> None:
    client = aws("lambda")
    for each in functions.FUNCTIONS:
        if (function := outputs.get(each.output)) is None:
            continue
        properties = package.template["Resources"][each.logical]["Properties"]
        if (cap := properties.get("ReservedConcurrentExecutions")) is not None:
            client.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=cap)


def _complete_api(aws: Aws, api: str, package: Package) -> None:
    """Set the gateway's own responses and the answers to preflight requests, and deploy the API."""
    properties = package.template["Resources"]["RestAPI"]["Properties"]
    definition, client = properties["DefinitionBody"], aws("apigateway")
    for kind, answer in definition["x-amazon-apigateway-gateway-responses"].items():
        client.put_gateway_response(restApiId=api, responseType=kind, **answer)
    resources = client.get_resources(restApiId=api, limit=500)["items"]
    for resource in resources:
        if options := definition["paths"].get(resource["path"], {}).get("options"):
            place = {"restApiId": api, "resourceId": resource["id"], "httpMethod": "OPTIONS"}
            [answer] = options["x-amazon-apigateway-integration"]["responses"].values()
            client.put_integration_response(**place, **answer)
    client.create_deployment(restApiId=api, stageName=properties["StageName"])
