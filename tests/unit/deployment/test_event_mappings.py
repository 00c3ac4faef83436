"""What an operator has paused stays paused through a deployment, and the API knows the mappings."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from decanter.deployment import functions, mappings, smoke, template
from decanter.deployment.stage import Stage

STAGE = Stage(
    "p", "jwt", fronts={"things": "dynamodb"}, name="dev", configuration={"app_name": "app"}
)
TEMPLATE = template.build(STAGE)
TAKERS = ["drain_ordered", "drain_unordered", "drain_stream"]


class Missing(Exception):
    pass


class Lambda:
    """Lambda with one mapping of each function, as Chalice has made them."""

    meta = SimpleNamespace(endpoint_url="http://127.0.0.1")
    exceptions = SimpleNamespace(ResourceNotFoundException=Missing)

    def __init__(self, **states: str) -> None:
        self.states = states
        names = ("app-dev", "app-dev-audit")
        self.variables: dict[str, dict[str, str]] = {name: {"KEPT": "1"} for name in names}
        self.updates = 0

    def list_event_source_mappings(self, FunctionName: str) -> Any:
        if FunctionName not in self.states:
            raise Missing
        mapping = {
            "UUID": f"uuid-of-{FunctionName}",
            "State": self.states[FunctionName],
            "FunctionResponseTypes": ["ReportBatchItemFailures"],
            "ScalingConfig": {"MaximumConcurrency": 4},
        }
        return {"EventSourceMappings": [mapping]}

    def get_function_configuration(self, FunctionName: str) -> Any:
        assert FunctionName in ("app-dev", "app-dev-audit")
        found = self.variables[FunctionName]
        return {"Environment": {"Variables": found}, "RevisionId": "7"}

    def update_function_configuration(self, FunctionName: str, Environment: Any, **_: Any) -> None:
        self.updates += 1
        self.variables[FunctionName] = Environment["Variables"]

    def get_waiter(self, _name: str) -> Any:
        return SimpleNamespace(wait=lambda **_: None)


def events(document: Any) -> dict[str, bool]:
    """Whether the mapping of each drain is enabled, by a template."""
    found = {}
    for each in map(functions.function, TAKERS):
        [event] = [
            event
            for name, event in document["Resources"][each.logical]["Properties"]["Events"].items()
            if name == each.event_source
        ]
        found[each.name] = event["Properties"]["Enabled"]
    return found


def test_a_deployment_keeps_a_paused_buffer_paused() -> None:
    cloud = Lambda(o="Enabled", u="Disabled", s="Disabling")
    deployed = {"api": "a", "drain_ordered": "o", "drain_unordered": "u", "drain_stream": "s"}
    document = template.build(STAGE)
    assert events(document) == dict.fromkeys(TAKERS, True)

    paused = mappings.paused(lambda _: cloud, deployed)
    mappings.keep_paused(document, paused)

    assert paused == ["drain_unordered", "drain_stream"]
    assert events(document) == {
        "drain_ordered": True,
        "drain_unordered": False,
        "drain_stream": False,
    }
    assert "ops resume unordered" in mappings.note(functions.function("drain_unordered"))


def test_a_stage_that_loses_its_front_may_have_had_it_paused() -> None:
    document = template.build(replace(STAGE, fronts={}))

    mappings.keep_paused(document, ["drain_stream"])

    assert "DrainStream" not in document["Resources"]


def test_nothing_is_paused_before_the_first_deployment() -> None:
    assert mappings.paused(lambda _: Lambda(), {"drain_ordered": "o"}) == []


@pytest.mark.parametrize(("state", "count"), [("Enabled", 0), ("Disabled", 0), ("Creating", 1)])
def test_a_paused_mapping_is_no_fault(state: str, count: int) -> None:
    faults = [*smoke.mapping_faults(lambda _: Lambda(o=state), "drain_ordered", "o")]

    assert len(faults) == count, faults


def test_settings_are_awaited_in_a_paused_mapping_too() -> None:
    wanted = {"FunctionResponseTypes": ["ReportBatchItemFailures"]}

    assert mappings.await_settings(lambda _: Lambda(o="Disabled"), "o", wanted)["State"]


def test_the_api_function_may_change_the_mappings_of_the_buffers_alone() -> None:
    resources = TEMPLATE["Resources"]
    variables = resources["APIHandler"]["Properties"]["Environment"]["Variables"]
    [role] = resources["ApiHandlerRole"]["Properties"]["Policies"]
    [allowed] = [
        each["Resource"]
        for each in role["PolicyDocument"]["Statement"]
        if "lambda:UpdateEventSourceMapping" in each["Action"]
    ]
    names = [
        "DrainOrderedDrainOrderedSqsEventSource",
        "DrainUnorderedDrainUnorderedSqsEventSource",
        "DrainStreamDrainStreamDynamodbEventSource",
    ]

    assert [
        variables[f"DECANTER_{each}_MAPPING"] for each in ("ORDERED", "UNORDERED", "STREAM")
    ] == [{"Ref": name} for name in names]
    assert [each["Fn::Sub"].rpartition(":event-source-mapping:")[2] for each in allowed] == [
        f"${{{name}}}" for name in names
    ]


def test_after_chalice_deploy_api_and_audit_are_told_of_the_mappings() -> None:
    cloud = Lambda(**{f"app-dev-{name}": "Enabled" for name in TAKERS})
    expected = {
        "DECANTER_ORDERED_MAPPING": "uuid-of-app-dev-drain_ordered",
        "DECANTER_UNORDERED_MAPPING": "uuid-of-app-dev-drain_unordered",
        "DECANTER_STREAM_MAPPING": "uuid-of-app-dev-drain_stream",
    }

    for _ in range(2):
        mappings.name_in_functions(lambda _: cloud, STAGE)

    assert cloud.variables["app-dev"] == cloud.variables["app-dev-audit"]
    assert cloud.variables["app-dev"] == {"KEPT": "1", **expected}
    assert cloud.updates == 2
    assert mappings.variables_of(lambda _: cloud, STAGE) == expected
    assert mappings.variables_of(lambda _: Lambda(), STAGE) == {}
