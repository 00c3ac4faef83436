"""Where the API is, and how requests to it are authorized."""

import re
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from decanter.__main__ import main
from decanter.deployment import pipeline
from decanter.local import ministack
from decanter.local.ministack import MiniStackError
from decanter.operating import endpoint
from decanter.operating.endpoint import OperatingError, find
from tests.kit.ops_server import OpsServer

AWS = "https://abc.execute-api.eu-central-1.amazonaws.com/api"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing is set, and there are no credentials of AWS."""
    for name in ("DECANTER_URL", "DECANTER_TOKEN", "AWS_PROFILE", "AWS_ACCESS_KEY_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


def given(**named: Any) -> Namespace:
    usual = {"url": None, "token": None, "stage": None, "data_dir": Path("/nowhere")}
    return Namespace(**{**usual, **named})


def credentials(patch: pytest.MonkeyPatch) -> None:
    patch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    patch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI")


def authorization(found: endpoint.Endpoint, method: str = "GET", body: bytes = b"") -> str:
    return found.headers(method, f"{found.url}/ops/overview", body)["Authorization"]


def test_options_come_before_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DECANTER_URL", "https://variable.test/")
    monkeypatch.setenv("DECANTER_TOKEN", "of-the-variable")

    assert find(given()).url == "https://variable.test"
    assert authorization(find(given())) == "Bearer of-the-variable"
    option = find(given(url="https://option.test", token="of-the-option"))
    assert (option.url, authorization(option)) == ("https://option.test", "Bearer of-the-option")


def test_a_token_is_not_sent_where_others_can_read_it() -> None:
    with pytest.raises(OperatingError, match="not https"):
        find(given(url="http://api.test", token="t"))
    for host in ("http://127.0.0.1:4566", "http://localhost", "http://[::1]:80"):
        assert find(given(url=host, token="t")).url == host


def test_without_a_token_requests_are_signed(monkeypatch: pytest.MonkeyPatch) -> None:
    credentials(monkeypatch)

    found = find(given(url=AWS))

    signature = authorization(found)
    scope = r"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/\d+/eu-central-1/execute-api/aws4_request"
    assert re.match(scope, signature)
    assert "wJalrXUtnFEMI" not in signature
    assert authorization(found, "POST", b"{}") != authorization(found, "POST", b"[]")


def test_the_region_of_another_host_is_that_of_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    credentials(monkeypatch)
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    with pytest.raises(OperatingError, match="region"):
        find(given(url="https://ops.example.com"))

    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-3")
    assert "/eu-west-3/execute-api/" in authorization(find(given(url="https://ops.example.com")))


def test_neither_token_nor_credentials_is_reported() -> None:
    with pytest.raises(OperatingError, match=r"DECANTER_TOKEN.*credentials"):
        find(given(url=AWS))


class CloudFormation:
    """A stack with the outputs of a deployed stage."""

    meta = SimpleNamespace(endpoint_url="https://cloudformation.eu-central-1.amazonaws.com")

    def __init__(self, outputs: dict[str, str]) -> None:
        self.outputs = outputs

    def describe_stacks(self, StackName: str) -> Any:
        shown = [{"OutputKey": key, "OutputValue": text} for key, text in self.outputs.items()]
        return {"Stacks": [{"StackStatus": "CREATE_COMPLETE", "Outputs": shown}]}


def stage(patch: pytest.MonkeyPatch, authentication: str, outputs: dict[str, str]) -> None:
    made = SimpleNamespace(prefix="decanter-prod", authentication=authentication)
    patch.setattr("decanter.deployment.stage.load", lambda _project, _name: made)
    stack = CloudFormation(outputs)
    patch.setattr(pipeline, "client", lambda _service: stack)


def test_a_stage_has_its_address_in_its_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    stage(monkeypatch, "jwt", {"EndpointURL": f"{AWS}/"})
    monkeypatch.setenv("DECANTER_URL", "https://another.test")

    with pytest.raises(OperatingError, match=r"ops:read ops:write"):
        find(given(stage="prod"))
    found = find(given(stage="prod", token="t"))
    assert (found.url, authorization(found)) == (AWS, "Bearer t")


def test_a_token_for_a_stage_that_takes_signatures_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage(monkeypatch, "iam", {"EndpointURL": f"{AWS}/"})
    credentials(monkeypatch)

    with pytest.raises(OperatingError, match="The stage prod takes signatures of AWS, not tokens"):
        find(given(stage="prod", token="t"))


def test_requests_to_a_stage_with_iam_are_signed_even_with_a_token_of_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage(monkeypatch, "iam", {"EndpointURL": f"{AWS}/"})
    monkeypatch.setenv("DECANTER_TOKEN", "of-another-stage")
    credentials(monkeypatch)

    assert authorization(find(given(stage="prod"))).startswith("AWS4-HMAC-SHA256")


def test_a_stage_without_a_stack_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    stage(monkeypatch, "jwt", {})

    with pytest.raises(OperatingError, match="There is no stack decanter-prod"):
        find(given(stage="prod", token="t"))


def test_without_anything_it_is_the_local_cloud_with_a_token_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import jwt

    monkeypatch.setattr(ministack, "serving", lambda home: {"AWS_ENDPOINT_URL": str(home)})
    monkeypatch.setattr(endpoint, "_of_stack", lambda *_: "http://127.0.0.1:4566/restapis/x")

    found = find(given(data_dir=tmp_path))

    token = authorization(found).removeprefix("Bearer ")
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["scope"] == "ops:read ops:write"
    assert authorization(find(given(data_dir=tmp_path, token="mine"))) == "Bearer mine"


def test_no_local_cloud_is_reported_with_the_cure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(MiniStackError, match="make run"):
        find(given(data_dir=tmp_path))
    assert main(["ops", "overview", "--data-dir", str(tmp_path)]) == 1
    assert "make run" in capsys.readouterr().err


def test_a_host_that_does_not_answer_is_reported(
    server: OpsServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ops", "overview", "--url", "http://127.0.0.1:1", "--token", "t"]) == 1
    error = capsys.readouterr().err
    assert "http://127.0.0.1:1 does not answer" in error
    assert "the address of the stage's API" in error
    assert "urllib3" not in error
