"""Parts of a template that MiniStack cannot create or leaves out."""

from collections.abc import Mapping
from typing import Any

from decanter.deployment import functions
from decanter.deployment.aws import Aws
from decanter.deployment.template import front
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


def write_out(document: dict[str, Any], parameter: str, value: str) -> None:
    """Write the value of a parameter wherever a template refers to it in the environment of a
    function. MiniStack reads secrets again only for resources whose definition changes, and with
    another value of a parameter it does not; CloudFormation does."""
    for resource in document["Resources"].values():
        environment = resource.get("Properties", {}).get("Environment", {})
        for name, given in environment.get("Variables", {}).items():
            if given == {"Ref": parameter}:
                environment["Variables"][name] = value


def complete(aws: Aws, package: Package, outputs: Mapping[str, str]) -> None:
    """Set on a deployed stack what MiniStack's CloudFormation leaves out. Encryption and
    point-in-time recovery of the front table it leaves out as well; they mean nothing there."""
    _reserve_concurrency(aws, package, outputs)
    turn_on_expiry(aws, outputs)
    if "RestAPIId" in outputs:
        _complete_api(aws, outputs["RestAPIId"], package)


def turn_on_expiry(aws: Aws, outputs: Mapping[str, str]) -> None:
    """Turn on the time to live of the front table, if the stack has it."""
    if (table := outputs.get(functions.FRONT_TABLE_OUTPUT)) is None:
        return
    wanted, client = front.TIME_TO_LIVE, aws("dynamodb")
    found = client.describe_time_to_live(TableName=table)["TimeToLiveDescription"]
    if found.get("TimeToLiveStatus") != "ENABLED":  # it refuses to turn on what is on
        client.update_time_to_live(TableName=table, TimeToLiveSpecification=wanted)


def _reserve_concurrency(aws: Aws, package: Package, outputs: Mapping[str, str]) -> None:
    client = aws("lambda")
    for each in functions.FUNCTIONS:
        function = outputs.get(each.output)
        # The first step of a deployment keeps functions that the new version does not have.
        resource = package.template["Resources"].get(each.logical)
        if function is None or resource is None:
            continue
        properties = resource["Properties"]
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
