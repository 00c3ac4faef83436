"""What MiniStack cannot take of a template, and what it leaves out of one."""

from collections.abc import Mapping
from typing import Any

from decanter.deployment import functions
from decanter.deployment.aws import Aws
from decanter.package import Package

LAYER = "ManagedLayer"  # Chalice's name for the dependencies


def fit(document: dict[str, Any]) -> None:
    """Leave out what MiniStack cannot take (an alarm of a sum), and the layer of dependencies: it
    runs functions with this interpreter, which has them all, and would unpack and compile 30 MB at
    each cold start (3 s instead of 0.5 s)."""
    for name, resource in [*document["Resources"].items()]:
        if resource["Type"] == "AWS::CloudWatch::Alarm" and "Metrics" in resource["Properties"]:
            del document["Resources"][name]
    document["Resources"].pop(LAYER, None)
    for resource in document["Resources"].values():
        resource.get("Properties", {}).pop("Layers", None)


def settle(aws: Aws, package: Package, outputs: Mapping[str, str]) -> None:
    """Set what MiniStack leaves out of a template."""
    _reserve_concurrency(aws, package, outputs)
    if "RestAPIId" in outputs:
        stage = package.template["Resources"]["RestAPI"]["Properties"]["StageName"]
        _complete_api(aws, outputs["RestAPIId"], stage, package)


def _reserve_concurrency(aws: Aws, package: Package, outputs: Mapping[str, str]) -> None:
    """Put the caps of the template on the functions: MiniStack's CloudFormation leaves them out."""
    client = aws("lambda")
    for each in functions.FUNCTIONS:
        if (function := outputs.get(each.output)) is None:
            continue
        properties = package.template["Resources"][each.logical]["Properties"]
        if (cap := properties.get("ReservedConcurrentExecutions")) is not None:
            client.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=cap)


def _complete_api(aws: Aws, api: str, stage: str, package: Package) -> None:
    """Set what MiniStack's import leaves out of the API's definition, and deploy it: the gateway's
    own responses, and the answers to preflight requests."""
    definition = package.template["Resources"]["RestAPI"]["Properties"]["DefinitionBody"]
    client = aws("apigateway")
    for kind, answer in definition["x-amazon-apigateway-gateway-responses"].items():
        client.put_gateway_response(restApiId=api, responseType=kind, **answer)
    resources = client.get_resources(restApiId=api, limit=500)["items"]
    for resource in resources:
        if options := definition["paths"].get(resource["path"], {}).get("options"):
            place = {"restApiId": api, "resourceId": resource["id"], "httpMethod": "OPTIONS"}
            [answer] = options["x-amazon-apigateway-integration"]["responses"].values()
            client.put_integration_response(**place, **answer)
    client.create_deployment(restApiId=api, stageName=stage)
