"""The keys that sign receipts can be replaced: receipts stay good, and retries stay retries."""

import json
from pathlib import Path
from typing import Any

import boto3
import pytest

from chalicelib.errors import NotConfigured
from chalicelib.messages.receipt import verify
from chalicelib.settings import IntakeSettings
from decanter.deployment import deploy, functions, template
from decanter.deployment.cloudformation import StackState
from decanter.deployment.plan import DeploymentPlan
from decanter.deployment.stage import Stage
from tests.kit.mocked_aws import mocked_aws
from tests.kit.reader_stub import Reader

OLD, NEW = "o" * 48, "n" * 48
ROW = {"station": "EDDF", "observed_at": "2026-01-01T00:00:00Z"}
SETTLED = {"body": '{"state": "applied"}', "state": "applied", "pending": False}


def keys(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("DECANTER_RECEIPT_KEY", value)


def receipt_of(answer: Any) -> str:
    assert answer.status_code == 202
    return str(json.loads(answer.body)["receipt"])


@pytest.mark.parametrize("value", [f"{OLD} {NEW}", f"{NEW} {OLD}", f" {NEW}\n{OLD}\n"])
def test_receipts_of_all_keys_that_are_there_are_good(api, recorder, monkeypatch, value):
    Reader(monkeypatch, SETTLED)
    keys(monkeypatch, OLD)
    receipt = receipt_of(api("POST", "/observations", ROW))
    keys(monkeypatch, value)

    assert api("GET", f"/writes/{receipt}").status_code == 200


def test_the_first_key_signs(api, recorder, monkeypatch):
    keys(monkeypatch, f"{NEW} {OLD}")

    receipt = receipt_of(api("POST", "/observations", ROW))

    assert verify(receipt, NEW.encode(), "me")
    assert not verify(receipt, OLD.encode(), "me")


def test_receipts_of_a_key_that_is_gone_are_unknown(api, recorder, monkeypatch):
    keys(monkeypatch, OLD)
    receipt = receipt_of(api("POST", "/observations", ROW))
    keys(monkeypatch, NEW)
    Reader(monkeypatch, SETTLED)

    assert api("GET", f"/writes/{receipt}").status_code == 404


def test_a_retry_is_the_same_request_whatever_signs_receipts(api, recorder, monkeypatch):
    for value in (OLD, f"{NEW} {OLD}", NEW):
        keys(monkeypatch, value)
        receipt_of(api("POST", "/observations", ROW, Idempotency_Key="k"))

    assert len({message.dedup_id for message in recorder.messages}) == 1
    assert len({message.fingerprint for message in recorder.messages}) == 1


def test_no_key_is_not_configured():
    environment = {"DECANTER_ORDERED_QUEUE_URL": "o", "DECANTER_UNORDERED_QUEUE_URL": "u",
                   "DECANTER_READER_FUNCTION": "r", "DECANTER_RECEIPT_KEY": " \n"}  # fmt: skip

    with pytest.raises(NotConfigured, match="DECANTER_RECEIPT_KEY"):
        IntakeSettings.from_environment(environment)


class Package:
    """A package that is nothing but its template."""

    folder = Path()
    template = template.build(Stage("p", "iam"))


def test_the_api_function_is_updated_when_the_key_is() -> None:
    function = Package.template["Resources"]["APIHandler"]["Properties"]

    assert function["Environment"]["Variables"]["DECANTER_SECRETS_VERSION"] == {
        "Ref": "SecretsVersion"
    }


@pytest.mark.parametrize("is_own", [True, False])
def test_a_deployment_notices_another_key(monkeypatch: pytest.MonkeyPatch, is_own: bool) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    with mocked_aws():
        secrets = boto3.client("secretsmanager")
        for name in ("key", *(f"p/{kind}-url" for kind in ("database", *functions.roles()))):
            secrets.create_secret(Name=name, SecretString=OLD)
        outputs = {"ReceiptKeySecret": "key"} if is_own else {}
        stack = StackState("CREATE_COMPLETE", {}, outputs)
        plan = DeploymentPlan(Package(), "p", "", {} if is_own else {"ReceiptKeySecret": "key"})  # type: ignore[arg-type]

        before = deploy.secrets_version(boto3.client, plan, stack)
        assert deploy.secrets_version(boto3.client, plan, stack) == before
        secrets.put_secret_value(SecretId="key", SecretString=f"{NEW} {OLD}")

        assert deploy.secrets_version(boto3.client, plan, stack) != before


def test_the_stack_tells_where_the_key_is_that_it_made() -> None:
    output = Package.template["Outputs"]["ReceiptKeySecret"]

    assert output == {"Condition": "OwnReceiptKey", "Value": {"Ref": "ReceiptKey"}}
