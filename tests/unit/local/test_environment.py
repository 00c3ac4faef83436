"""What the shell has set is for AWS, and for nothing on this machine."""

import os
import socket
import threading
import urllib.request

import pytest
from botocore.utils import get_environ_proxies

from decanter.deployment import smoke
from decanter.local import environment
from decanter.local.ministack import MiniStack

HERE = ("http://127.0.0.1:4566", "http://localhost:8000")
SHELL = {"HTTP_PROXY": "http://a:1", "https_proxy": "http://a:1", "NO_PROXY": "corp.example"}


@pytest.fixture(autouse=True)
def shell(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {**SHELL, "AWS_PROFILE": "nosuch", "BOTO_CONFIG": "/x"}.items():
        monkeypatch.setenv(name, value)


def test_no_proxy_is_asked_for_this_machine_and_one_is_for_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in environment.without_local_proxy().items():
        monkeypatch.setenv(name, value)

    assert not any(map(get_environ_proxies, HERE))
    assert get_environ_proxies("https://sqs.eu-central-1.amazonaws.com")
    assert not get_environ_proxies("https://pypi.corp.example")
    assert environment.without_local_proxy() == environment.without_local_proxy(
        environment.without_local_proxy()
    )

    monkeypatch.setenv("NO_PROXY", "*")
    for name, value in environment.without_local_proxy().items():
        monkeypatch.setenv(name, value)

    assert not get_environ_proxies("https://sqs.eu-central-1.amazonaws.com")


def test_the_local_cloud_has_no_profile_and_afterwards_all_is_as_it_was() -> None:
    before = dict(os.environ)
    with environment.isolated():
        assert "AWS_PROFILE" not in os.environ
        assert not any(map(get_environ_proxies, HERE))
        assert get_environ_proxies("https://pypi.org")  # for pip

    assert dict(os.environ) == before


def test_what_runs_in_the_local_cloud_has_no_proxy_and_nothing_of_the_shells() -> None:
    found = environment.minimal({**os.environ, "PYTHONPATH": "/x", "DECANTER_AUTH": "iam"})

    assert found["PATH"] == os.environ["PATH"]
    assert {name for name in found if name.startswith("AWS_")} == {*environment.NO_AWS}
    assert not {"PYTHONPATH", "DECANTER_AUTH", "BOTO_CONFIG", *SHELL} & {*found} - {"NO_PROXY"}
    assert found["NO_PROXY"] == found["no_proxy"] == "*"


def test_a_deployed_stage_is_looked_at_through_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        asked: list[bytes] = []

        def answer() -> None:
            taken, _ = listening.accept()
            with taken:
                asked.append(taken.recv(1000))
                taken.sendall(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{listening.getsockname()[1]}")
        monkeypatch.setattr(urllib.request, "_opener", None)  # made of the first caller's proxies

        assert smoke._status("http://decanter.invalid/openapi.json") == 401
        thread.join()

    assert asked[0].startswith(b"GET http://decanter.invalid/openapi.json")


def test_what_an_sdk_needs_to_talk_to_the_local_cloud_names_no_files() -> None:
    found = MiniStack(None, 1, None).environment  # type: ignore[arg-type]

    assert environment.NO_AWS.items() <= found.items()
