"""The settings of a stage in ``.chalice/config.json`` and ``app.py``: read once, and handed on."""

import copy
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from chalicelib import stage as choices
from chalicelib.errors import NotConfigured
from chalicelib.settings import ENGINES, database_tokens, engine
from decanter.deployment import functions
from decanter.deployment.functions import Function
from decanter.deployment.references import Json

CONFIG_FILE = ".chalice/config.json"
DEFAULT_TIMEOUT_SECONDS = 60  # Chalice's

# In its own process: this one may have imported another project's app and chalicelib.
_READ_APP = """
import json, app
from chalicelib import stage
mappings = {event.name: event.maximum_concurrency for event in app.app.event_sources
            if hasattr(event, "maximum_concurrency")}
streams = [event.name for event in app.app.event_sources if hasattr(event, "stream_arn")]
batches = {event.name: [event.batch_size, event.maximum_batching_window_in_seconds]
           for event in app.app.event_sources if hasattr(event, "batch_size")}
schedules = [event.name for event in app.app.event_sources
             if hasattr(event, "schedule_expression")]
print(json.dumps({"name": app.app.app_name, "mappings": mappings, "streams": streams,
                  "schedules": schedules, "batches": batches, "fronts": stage.fronts()}))
"""

_NUMBERS = {
    "reserved_concurrency": (0, 1_000_000),
    "lambda_timeout": (1, 900),
    "lambda_memory_size": (128, 10_240),
}
"""The least and the most that Lambda accepts."""


class ConfigurationError(Exception):
    """A setting is missing or malformed; nothing can be deployed."""


class Batching(NamedTuple):
    """The largest batch of a mapping in messages, and how long it waits for more of them."""

    messages: int
    window_seconds: float


@dataclass(frozen=True)
class Stage:
    """A stage of a project.

    prefix: of the names of its stack, queues, front table and secrets. cors_origin: whose scripts
    may call; None: nobody's. issuer, audience, jwks_url: defaults of the template's parameters;
    None: not set. caps: reserved concurrency by function. in_vpc: functions with subnets. tokens:
    database logins use tokens. drain_seconds: the longest timeout of a queue's drain. mappings:
    maximum concurrency of the queues' mappings, by function. batches: of the mappings of queues
    and stream, by function. fronts: `dynamodb` or `closed` for each resource that needs the front
    table. events: where events about requests are published; None: nowhere. engine: the kind of
    server that its database is on. api_name: Chalice's name of the API. configuration: the whole
    file.
    """

    prefix: str
    authentication: choices.Authentication
    cors_origin: str | None = None
    issuer: str | None = None
    audience: str | None = None
    jwks_url: str | None = None
    caps: Mapping[str, int] = field(default_factory=dict)
    in_vpc: frozenset[str] = frozenset()
    tokens: bool = False
    drain_seconds: int = DEFAULT_TIMEOUT_SECONDS
    mappings: Mapping[str, int] = field(default_factory=dict)
    batches: Mapping[str, Batching] = field(default_factory=dict)
    fronts: Mapping[str, str] = field(default_factory=dict)
    events: choices.Destination | None = None
    engine: str = ENGINES[0]
    name: str = ""
    api_name: str = ""
    configuration: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def has_front(self) -> bool:
        """Whether it has a front table."""
        return bool(self.fronts)

    @property
    def functions(self) -> list[Function]:
        """The functions that are deployed with its authentication, and with a front table and
        events or without."""
        chosen = (None, self.authentication)
        return [
            each
            for each in functions.FUNCTIONS
            if each.authentication in chosen
            and (self.has_front or not each.needs_front)
            and (self.events or not each.needs_events)
        ]

    @property
    def holders(self) -> list[Function]:
        """Its functions that hold database connections."""
        return [each for each in self.functions if each.role]

    @property
    def application(self) -> str:
        """Prefix of the names of functions that ``chalice deploy`` makes. Raises
        ConfigurationError."""
        name = self.configuration.get("app_name")
        if not isinstance(name, str):
            raise ConfigurationError(f"app_name in {CONFIG_FILE} is not a string. Set it to one.")
        return f"{name}-{self.name}"

    @property
    def policy_files(self) -> dict[str, list[str]]:
        """Functions by their policy file in ``.chalice``."""
        found: dict[str, list[str]] = {}
        for each in functions.FUNCTIONS:
            if file := self.setting(each, "iam_policy_file"):
                found.setdefault(file, []).append(each.name)
        return found

    @property
    def architecture(self) -> str:
        """The processor architecture of its functions, as Lambda names it."""
        chosen = self.setting(functions.function("api"), "lambda_architecture")
        return "x86_64" if chosen is None else str(chosen)

    def setting(self, function: Function, name: str) -> Any:
        """A setting of a function, found where Chalice finds it; None: not set."""
        for place in (self.configuration["stages"][self.name], self.configuration):
            own = place.get("lambda_functions", {}).get(function.chalice_name, {})
            if name in own or name in place:
                return own.get(name, place.get(name))
        return None

    def variables(self, function: Function) -> dict[str, str]:
        """Environment variables of a function in the configuration."""
        own = self.configuration["stages"][self.name]
        functions_own = own.get("lambda_functions", {}).get(function.chalice_name, {})
        found: dict[str, str] = {}
        for place in (self.configuration, own, functions_own):
            found |= place.get("environment_variables", {})
        return found

    def with_prefix(self, prefix: str) -> "Stage":
        """A copy of the stage that is deployed beside it, with a stack and queues of its own."""
        return replace(self, prefix=prefix, configuration=self._with("DECANTER_QUEUES", prefix))

    def with_events(self, arn: str) -> "Stage":
        """A copy of the stage that publishes events to another topic or bus."""
        variable = "DECANTER_EVENTS"
        events = choices.events({variable: arn})
        return replace(self, events=events, configuration=self._with(variable, arn))

    def with_engine(self, name: str) -> "Stage":
        """A copy of the stage whose database is on another engine."""
        configuration = self._with("DECANTER_ENGINE", name)
        variables = configuration["stages"][self.name]["environment_variables"]
        tokens = database_tokens(variables)
        return replace(self, engine=name, tokens=tokens, configuration=configuration)

    def _with(self, variable: str, value: str) -> Json:
        """The configuration with another value of one of the stage's variables."""
        configuration = copy.deepcopy(dict(self.configuration))
        configuration["stages"][self.name]["environment_variables"][variable] = value
        return configuration


def load(project: Path, name: str) -> Stage:
    """Return the stage of that name. Raises ConfigurationError."""
    whole = _configuration(project)
    if name not in whole["stages"]:
        known = ", ".join(sorted(whole["stages"]))
        raise ConfigurationError(f"There is no stage {name!r} in {CONFIG_FILE}: {known}.")
    variables = whole["stages"][name].get("environment_variables", {})
    if not (prefix := variables.get("DECANTER_QUEUES")):
        raise ConfigurationError(
            f"Set DECANTER_QUEUES in environment_variables of stage {name!r} in {CONFIG_FILE}: the"
            ' prefix of queue names, such as "decanter-prod".'
        )
    try:
        found = Stage(
            prefix,
            choices.authentication(variables),
            choices.cors_origin(variables),
            variables.get("DECANTER_JWT_ISSUER"),
            variables.get("DECANTER_JWT_AUDIENCE"),
            variables.get("DECANTER_JWT_JWKS_URL"),
            tokens=database_tokens(variables),
            events=choices.events(variables),
            engine=engine(variables),
            name=name,
            configuration=whole,
        )
    except NotConfigured as error:
        raise ConfigurationError(f"Stage {name!r}: {error}") from None
    app, every = _app(project, name, variables), functions.FUNCTIONS
    caps = {each.name: found.setting(each, "reserved_concurrency") for each in every}
    timeouts = [found.setting(drain, "lambda_timeout") for drain, _queue in functions.drains()]
    return replace(
        found,
        caps={function: cap for function, cap in caps.items() if cap},
        in_vpc=frozenset(each.name for each in every if found.setting(each, "subnet_ids")),
        drain_seconds=max(timeout or DEFAULT_TIMEOUT_SECONDS for timeout in timeouts),
        mappings={function: cap for function, cap in app["mappings"].items() if cap},
        batches={function: Batching(*each) for function, each in app["batches"].items()},
        fronts=app["fronts"],
        api_name=app["name"],
    )


def engines(project: Path) -> list[str]:
    """The engines that the project's stages declare, each once; those that a stage names wrongly
    are left out, as `load` refuses them. Raises ConfigurationError."""
    found = set()
    for own in _configuration(project)["stages"].values():
        with suppress(NotConfigured):
            found.add(engine(own.get("environment_variables", {})))
    return sorted(found)


def policy(project: Path, name: str) -> Json:
    """Return a policy from ``.chalice``. Raises ConfigurationError."""
    found = _read(project / ".chalice" / name, f".chalice/{name}")
    statements = found.get("Statement") if isinstance(found, dict) else None
    if not isinstance(statements, list) or not all(isinstance(each, dict) for each in statements):
        raise ConfigurationError(
            f".chalice/{name} is not an IAM policy: Statement must be a list of objects."
        )
    read: Json = found
    return read


def _configuration(project: Path) -> Json:
    found = _read(project / CONFIG_FILE, CONFIG_FILE)
    stages = found.get("stages") if isinstance(found, dict) else None
    if not isinstance(stages, dict) or not all(isinstance(each, dict) for each in stages.values()):
        raise ConfigurationError(
            f"stages in {CONFIG_FILE} must be an object with an object for each stage."
        )
    for place, settings in {"": found, **{f"stages.{key}.": stages[key] for key in stages}}.items():
        for objection in _objections(place, settings):
            raise ConfigurationError(f"{CONFIG_FILE}: {objection}.")
    read: Json = found
    return read


def _read(path: Path, shown: str) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigurationError(f"{shown} cannot be read: {reason}.") from error


def _objections(place: str, settings: Json) -> Iterator[str]:
    """Settings that Chalice or Lambda would refuse. place: ends with a point, or is empty."""
    for member in ("environment_variables", "lambda_functions"):
        if not isinstance(settings.get(member, {}), dict):
            yield f"{place}{member} is not an object"
            return
    for variable, value in settings.get("environment_variables", {}).items():
        if not isinstance(value, str):
            yield f'{place}environment_variables.{variable} is {value!r}. Write it as a string: ""'
    for number, (least, most) in _NUMBERS.items():
        value = settings.get(number)
        if value is not None and (type(value) is not int or not least <= value <= most):
            yield f"{place}{number} is {value!r}. Make it a whole number from {least} to {most}"
    for function, own in settings.get("lambda_functions", {}).items():
        inner = f"{place}lambda_functions.{function}"
        if not isinstance(own, dict):
            yield f"{inner} is not an object"
        else:
            yield from _objections(f"{inner}.", own)


def _app(project: Path, stage: str, variables: Mapping[str, str]) -> Json:
    """Name, mappings and fronts of the project's app; empty without app.py. Raises
    ConfigurationError."""
    if not (project / "app.py").exists():
        return {"name": "", "mappings": {}, "batches": {}, "streams": [], "fronts": {}}
    done = subprocess.run(
        [sys.executable, "-c", _READ_APP],
        cwd=project,
        env={**os.environ, **variables, "AWS_CHALICE_CLI_MODE": "true"},
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ConfigurationError(f"app.py cannot be read for stage {stage!r}: {reason}")
    found: Json = json.loads(done.stdout)
    wanted = [each.name for each in functions.FUNCTIONS if each.reads_stream]
    if found["fronts"] and found["streams"] != wanted:
        raise ConfigurationError(
            'A resource has info={"front": "dynamodb"}, and app.py has no function'
            f" {' '.join(wanted)} on the stream of its table, so nothing would reach Postgres. Take"
            ' it over from the app.py of this version of Decanter, or set the front to "sqs".'
        )
    publish = functions.function("publish").name
    if variables.get("DECANTER_EVENTS") and publish not in found["schedules"]:
        raise ConfigurationError(
            f"DECANTER_EVENTS is set, and app.py has no function {publish} on a schedule, so events"
            " would never be published. Take it over from the app.py of this version of Decanter,"
            " or leave DECANTER_EVENTS out."
        )
    return found
