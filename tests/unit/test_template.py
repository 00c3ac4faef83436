"""The merge template: least privilege, and what Chalice leaves out."""

import json
from pathlib import Path
from typing import Any

import pytest

from decanter import template

PROJECT = Path(__file__).parents[2]
TEMPLATE = template.build(template.Stage("weather-prod", "jwt"))


def statements(role: str) -> list[dict[str, Any]]:
    [policy] = TEMPLATE["Resources"][role]["Properties"]["Policies"]
    found: list[dict[str, Any]] = policy["PolicyDocument"]["Statement"]
    return found


@pytest.mark.parametrize("role", [role for _function, role in template.FUNCTIONS.values()])
def test_only_network_interfaces_are_allowed_on_everything(role: str) -> None:
    for statement in statements(role):
        assert all("*" not in action for action in statement["Action"])
        if statement["Resource"] == "*":
            assert all(action.startswith("ec2:") for action in statement["Action"])
        else:
            assert "*" not in json.dumps(statement["Resource"])


def test_the_api_function_has_neither_database_nor_network() -> None:
    function = TEMPLATE["Resources"]["APIHandler"]["Properties"]

    assert "DECANTER_DATABASE_URL" not in function["Environment"]["Variables"]
    assert "ec2:" not in json.dumps(statements("ApiHandlerRole"))


@pytest.mark.parametrize(
    ("drain", "queue"), [("DrainOrdered", "Ordered"), ("DrainUnordered", "Unordered")]
)
def test_drains_wait_for_their_queue_and_report_failed_messages(drain: str, queue: str) -> None:
    resource = TEMPLATE["Resources"][drain]
    [event] = resource["Properties"]["Events"].values()

    assert resource["DependsOn"] == [f"{queue}Queue"]
    # Chalice's value of Queue stands: to merge another one into it makes it invalid.
    assert event == {"Properties": {"FunctionResponseTypes": ["ReportBatchItemFailures"]}}


def test_queues_have_the_names_that_app_py_listens_to() -> None:
    from chalicelib.settings import queue_name

    for logical, suffix in (("OrderedQueue", "ordered.fifo"), ("UnorderedQueue", "unordered")):
        name = TEMPLATE["Resources"][logical]["Properties"]["QueueName"]
        assert name == queue_name(suffix, {"DECANTER_QUEUES": "weather-prod"})


def test_a_message_is_hidden_for_six_times_the_timeout_of_a_drain() -> None:
    functions = template.stage_configuration(PROJECT, "dev")["lambda_functions"]

    for drain in ("drain_ordered", "drain_unordered"):
        timeout = functions[drain]["lambda_timeout"]
        assert TEMPLATE["Parameters"]["VisibilityTimeout"]["Default"] == 6 * timeout
        assert TEMPLATE["Parameters"]["VisibilityTimeout"]["MinValue"] >= timeout


def test_a_stage_that_is_not_there_is_named() -> None:
    with pytest.raises(template.ConfigurationError, match="no stage 'nope'"):
        template.stage_configuration(PROJECT, "nope")


def test_no_secret_is_in_the_template() -> None:
    text = json.dumps(TEMPLATE)

    assert "postgresql:" not in text
    # The receipt key, the stack's own or a shared one, and the database's URL five times.
    assert text.count("{{resolve:secretsmanager:") == 2 + 5
