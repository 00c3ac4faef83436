"""docs/deploying.md, command by command, in a copy of the project against the local cloud."""

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from decanter.deployment import cloudformation, template
from decanter.deployment.stage import load
from decanter.local import issuer as issuers
from decanter.local import stack
from decanter.local.cloud import Cloud
from tests.kit.deployment import CHALICE
from tests.kit.project import PROJECT

PREFIX = "documented"
TOPIC = "arn:aws:sns:us-east-1:000000000000:documented"
BUS = "arn:aws:events:us-east-1:000000000000:event-bus/documented"


def commands() -> list[str]:
    text = (PROJECT / "docs" / "deploying.md").read_text()
    blocks = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    return [line.removeprefix("$ ") for block in blocks for line in block.splitlines()]


@pytest.fixture
def project(copy_project: Callable[[], Path]) -> Path:
    """Its stages are dev, with events to a topic, and plain, with events to a bus, both beside what
    else is deployed; chalice and aws are those of the machine, chalice without what MiniStack
    lacks."""
    folder = copy_project()
    (folder / "requirements.in").write_text((PROJECT / "requirements.in").read_text())
    (folder / "build").mkdir()
    for cache in ("layers", "checked"):
        (PROJECT / "build" / cache).mkdir(parents=True, exist_ok=True)  # a fresh clone has none
        (folder / "build" / cache).symlink_to(PROJECT / "build" / cache)
    file = folder / ".chalice" / "config.json"
    configuration = json.loads(file.read_text())
    dev = configuration["stages"]["dev"]
    plain = json.loads(json.dumps(dev))
    dev["environment_variables"] |= {"DECANTER_QUEUES": PREFIX, "DECANTER_EVENTS": TOPIC}
    plain["environment_variables"] |= {"DECANTER_QUEUES": f"{PREFIX}-plain", "DECANTER_EVENTS": BUS}
    configuration["stages"]["plain"] = plain
    configuration["app_name"] = PREFIX
    file.write_text(json.dumps(configuration))
    bin_ = folder / ".venv" / "bin"
    bin_.mkdir(parents=True)
    python = PROJECT / ".venv" / "bin" / "python"
    (bin_ / "python").write_text(f'#!/bin/sh\nexec {python} "$@"\n')
    (folder / "chalice_here.py").write_text(
        # MiniStack's interpreter has the dependencies: to upload them takes long.
        "import pathlib, sys\n"
        "place = pathlib.Path(sys.argv[2])\n"
        "(place / 'requirements.txt').write_text('')\n" + CHALICE
    )
    (bin_ / "chalice").write_text(f'#!/bin/sh\nexec {python} chalice_here.py "$@"\n')
    # The aws command is no dependency of the project; the one that is used stands in for it.
    (folder / "aws_here.py").write_text(
        "import argparse, boto3, json, pathlib\n"
        "parser = argparse.ArgumentParser()\n"
        "parser.add_argument('words', nargs=2)\n"
        "for name in ('name', 'secret-string', 's3-bucket', 'template-file',\n"
        "             'output-template-file'):\n"
        "    parser.add_argument(f'--{name}')\n"
        "parser.add_argument('--use-json', action='store_true')\n"
        "given = parser.parse_args()\n"
        "if given.words == ['secretsmanager', 'create-secret']:\n"
        "    text = pathlib.Path(given.secret_string.removeprefix('file://')).read_text()\n"
        "    boto3.client('secretsmanager').create_secret(Name=given.name, SecretString=text)\n"
        "else:\n"
        "    assert given.words == ['cloudformation', 'package'] and given.use_json\n"
        "    source = pathlib.Path(given.template_file)\n"
        "    document = json.loads(source.read_text())\n"
        "    for resource in document['Resources'].values():\n"
        "        for member in {'CodeUri', 'ContentUri'} & resource.get('Properties', {}).keys():\n"
        "            file = source.parent / resource['Properties'][member]\n"
        "            assert file.is_file(), file\n"
        "            resource['Properties'][member] = f's3://{given.s3_bucket}/{file.name}'\n"
        "    pathlib.Path(given.output_template_file).write_text(json.dumps(document))\n"
    )
    (bin_ / "aws").write_text(f'#!/bin/sh\nexec {python} aws_here.py "$@"\n')
    for name in ("python", "chalice", "aws"):
        (bin_ / name).chmod(0o755)
    return folder


def test_every_command_works(cloud: Cloud, project: Path) -> None:
    said: dict[str, str] = {}
    for database in (PREFIX, f"{PREFIX}_plain"):
        cloud.postgres.ensure_database(database)
    cloud.client("sns").create_topic(Name=PREFIX)
    cloud.client("events").create_event_bus(Name=PREFIX)
    (project / "URL_FILE").write_text(cloud.postgres.url(PREFIX))
    plain_url = cloud.postgres.url(f"{PREFIX}_plain")
    cloud.client("secretsmanager").create_secret(
        Name=f"{PREFIX}-plain/database-url", SecretString=plain_url
    )
    environment = {
        **os.environ,
        **cloud.ministack.environment,
        "PATH": f"{project / '.venv' / 'bin'}:{os.environ['PATH']}",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    keys = stack._publish(cloud.ministack, cloud.issuer)
    for command in commands():
        run = command.replace("ISSUER", issuers.URL).replace("AUDIENCE", issuers.AUDIENCE)
        run = run.replace("decanter-dev/", f"{PREFIX}/")
        if "JwtIssuer" in run:  # the issuer of the local cloud says nothing of itself
            run += f" --parameter JwtJwksUrl={keys}"
        done = subprocess.run(
            run, shell=True, cwd=project, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        said[command] = done.stdout

    outputs = cloudformation.describe(cloud.client, PREFIX).outputs
    deployed = next(text for command, text in said.items() if " deploy --stage dev" in command)
    assert outputs["OrderedQueueUrl"] in deployed
    assert outputs["RestAPIId"] in deployed
    assert "CREATE TABLE stations" in deployed
    functions = cloud.client("lambda")
    for name in ("drain_ordered", "drain_unordered"):
        settings = functions.get_function_configuration(FunctionName=f"{PREFIX}-plain-{name}")
        assert settings["Environment"]["Variables"]["DECANTER_PARTIAL_RESPONSES"] == "1"
    publish = {outputs["PublishFunction"]: TOPIC, f"{PREFIX}-plain-publish": BUS}
    for name, destination in publish.items():
        settings = functions.get_function_configuration(FunctionName=name)
        assert settings["Environment"]["Variables"]["DECANTER_EVENTS"] == destination
        assert settings["Environment"]["Variables"]["DECANTER_OPERATE_FUNCTION"]
    alarms = cloud.client("cloudwatch").describe_alarms()["MetricAlarms"]
    watched = {each["Value"] for alarm in alarms for each in alarm.get("Dimensions", [])}
    assert {f"{PREFIX}-plain-reader", f"{PREFIX}-plain-drain_ordered"} <= watched
    sweeps = f"/aws/lambda/{PREFIX}-plain-sweep"
    assert cloud.client("logs").describe_metric_filters(logGroupName=sweeps)["metricFilters"]
    stack_of_terraform = json.loads((project / "build/dev/stack.json").read_text())
    assert stack_of_terraform["Resources"].keys() >= {"RestAPI", "OrderedQueue", "Migrate"}


def test_the_parameters_of_the_template_are_all_in_the_document() -> None:
    text = (PROJECT / "docs" / "deploying.md").read_text()
    for name in template.build(load(PROJECT, "dev"))["Parameters"]:
        assert f"`{name}`" in text, name
