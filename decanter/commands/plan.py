"""Simulate a day of your traffic: connections, lag, what breaks first, and which caps suffice."""

import json
import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from decanter import PROJECT
from decanter.commands import options
from decanter.local import HOME

if TYPE_CHECKING:
    from chalicelib.contract.resources import Resource
    from decanter.planning.fitted import Fitted
    from decanter.planning.profile import Profile

_STAGE, _DAYS, _SECONDS = "dev", 7, 90
_OF_PLAN = ("from_ledger", "write", "stage", "service")
_OF_LEDGER = ("days", "save", "url", "token", "data_dir")


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "profile",
        type=Path,
        nargs="?",
        metavar="PROFILE",
        help="the traffic: YAML or JSON; with --from-ledger, what the ledger does not know",
    )
    parser.add_argument("--stage", help=f"stage in .chalice/config.json ({_STAGE})")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of what is random (1)")
    parser.add_argument(
        "--service",
        type=Path,
        metavar="FILE",
        help="service times, of `python -m benchmarks service` (decanter/planning/service.json)",
    )
    parser.add_argument(
        "--write",
        action="store_true",
        help="set the stage's caps in .chalice/config.json to the lowest that meet the goal",
    )
    parser.add_argument(
        "--picture",
        type=options.written_file,
        metavar="FILE",
        help="draw lag and backlog over the day, as SVG or PNG",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    _of_ledger(parser)
    _of_replay(parser)


def _of_ledger(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("the traffic of a deployed stage")
    text = "plan for the traffic of the last week, by the ledger of --stage, --url, or the local"
    group.add_argument("--from-ledger", action="store_true", help=f"{text} cloud")
    text = f"days of the ledger to look at ({_DAYS})"
    group.add_argument("--days", type=options.positive, metavar="N", help=text)
    text = "write the profile of --from-ledger as YAML, to keep and to edit"
    group.add_argument("--save", type=options.written_file, metavar="FILE", help=text)
    group.add_argument("--url", help="address of the API (DECANTER_URL)")
    text = "token with the scope ops:read (DECANTER_TOKEN; without one, AWS signs)"
    group.add_argument("--token", help=text)
    options.data_dir(group)
    parser.set_defaults(usage=parser.error, data_dir=None)  # None: it was not given


def _of_replay(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("whether the model is right")
    text = "replay PROFILE, or three profiles of ours, on a local cloud, and compare"
    group.add_argument("--verify", action="store_true", help=text)
    text = f"how much of a profile's day is replayed ({_SECONDS})"
    group.add_argument("--seconds", type=options.positive, metavar="N", help=text)


def run(given: Namespace) -> int:
    """Return 1 if the goal is not met; with --verify, if a figure is not as predicted."""
    _check(given)
    return _verify(given) if given.verify else _plan(given)


def _plan(given: Namespace) -> int:
    from chalicelib.contract import resources
    from decanter.deployment import functions
    from decanter.deployment.stage import CONFIG_FILE, load
    from decanter.local import environment
    from decanter.planning import (
        capacity,
        caps,
        cost,
        images,
        memory,
        price_list,
        service,
        text,
    )
    from decanter.planning.plan import Planner

    if given.picture:
        images.check(given.picture)
    name = given.stage or _STAGE
    stage = load(PROJECT, name)
    known = {name: resources.resource(name) for name in resources.names()}
    file = given.service or service.FILE
    times, containers = service.load(file), memory.containers(file)
    fitted, wanted = _profile(given, known)
    prices = price_list.load(wanted.region)
    with environment.isolated():
        os.environ.update(stage.variables(functions.function("api")))  # the size of messages
        planner = Planner(wanted, capacity.of_stage(stage), times, known, given.seed, _simulating)
        found = planner.plan()
    month = cost.Month(stage, wanted, found.outcome, times, containers, prices)
    bills = cost.bills(month)
    goal = wanted.lag_p99_seconds
    sweeps = memory.sweeps(stage, found.outcome, containers, times, prices, goal, month.months)
    if given.json:
        document = {
            **_as_json(fitted),
            **text.document(found),
            "cost": cost.document(bills),
            "memory": memory.document(sweeps),
        }
        print(json.dumps(document, indent=2))
    else:
        lines = (*text.lines(found), "", *cost.table(bills), "", *memory.tables(sweeps))
        print("\n".join(lines))
    if given.picture:
        images.write(wanted, found.outcome, given.picture)
    if not given.write:
        return int(bool(found.objections))
    difference = caps.write(PROJECT, name, found)
    print(difference or f"{CONFIG_FILE} has these caps.", file=sys.stderr if given.json else None)
    return 0


def _check(given: Namespace) -> None:
    """Refuse options that do nothing beside the others, with argparse's error."""
    if given.verify:
        why = "does not go with --verify, which measures a local cloud of its own"
        _refuse(given, (*_OF_PLAN, *_OF_LEDGER), why)
        return
    _refuse(given, ("seconds",), "goes with --verify, which replays so much of a day")
    if given.from_ledger:
        if given.stage or given.url or os.environ.get("DECANTER_URL"):
            why = "goes with the local cloud, not with --stage, --url or DECANTER_URL"
            _refuse(given, ("data_dir",), why)
        if given.profile and given.save and given.save.resolve() == given.profile.resolve():
            given.usage("--save would overwrite PROFILE: name another file")
        return
    if given.profile is None:
        given.usage(
            "name a PROFILE, take the traffic of a stage with --from-ledger, or try the model with"
            " --verify"
        )
    _refuse(given, _OF_LEDGER, "goes with --from-ledger, which asks a deployed stage")


def _refuse(given: Namespace, names: Iterable[str], why: str) -> None:
    for name in names:
        if getattr(given, name) not in (None, False):
            given.usage(f"--{name.replace('_', '-')} {why}")


def _verify(given: Namespace) -> int:
    """Replay profiles and compare. Return 1 if a figure is outside the tolerance."""
    from chalicelib.contract import resources
    from decanter import POSTGRES_URL
    from decanter.contract import committed
    from decanter.deployment.stage import load
    from decanter.local import environment
    from decanter.local.cloud import STAGE
    from decanter.local.demo import airports
    from decanter.planning import capacity, images, profile
    from decanter.planning.documents import PlanningError
    from decanter.planning.replay import picture, verify

    if given.picture:
        images.check(given.picture)
        picture.check()
    if not airports.match(committed()):
        raise PlanningError(
            "--verify replays writes to the sample tables, which are not in chalicelib/models.py:"
            " run it in a clone of Decanter itself."
        )
    known = {name: resources.resource(name) for name in resources.names()}
    paths = [given.profile] if given.profile else sorted(verify.PROFILES.glob("*.yaml"))
    profiles = {each.stem: profile.load(each, known) for each in paths}
    os.environ.update(environment.without_local_proxy())
    os.environ.pop(POSTGRES_URL, None)  # its settings and connections are others' too
    stage = capacity.of_stage(load(PROJECT, STAGE))
    asked = verify.Asked(stage, known, given.seed, given.seconds or _SECONDS)
    found = []
    for each in verify.verify(profiles, asked, _say):
        found.append(each)
        if not given.json:
            print("\n".join(verify.lines([each])), flush=True)
    if given.json:
        print(json.dumps(verify.document(found), indent=2))
    if given.picture:
        picture.write(found, given.picture)
    return int(not verify.is_near(found))


def _profile(
    given: Namespace, known: Mapping[str, "Resource"]
) -> tuple["Fitted | None", "Profile"]:
    """What is planned for, and how it was fitted if it was."""
    from decanter.planning import fitted, profile

    if not given.from_ledger:
        return None, profile.load(given.profile, known)
    found = _fitted(given, known)
    if given.save:
        given.save.write_text(fitted.text(found), encoding="utf-8")
    if not given.json:
        print(fitted.text(found))
    return found, profile.parsed(found.document, known, "the ledger's profile")


def _fitted(given: Namespace, known: Mapping[str, "Resource"]) -> "Fitted":
    from decanter.operating import endpoint
    from decanter.operating.client import Client
    from decanter.planning import documents, fitted

    said: Mapping[str, Any] = {}
    if given.profile:
        said = fitted.given(documents.read(given.profile), given.profile.name)
    where = Namespace(
        stage=None if given.url else given.stage,
        url=given.url,
        token=given.token,
        data_dir=given.data_dir or HOME,
    )
    days = str(given.days or _DAYS)
    traffic = Client(endpoint.find(where)).get("traffic", {"days": days})
    return fitted.fit(traffic, known, said)


def _as_json(fitted: "Fitted | None") -> dict[str, Any]:
    if fitted is None:
        return {}
    return {"profile": fitted.document, "basis": [*fitted.basis]}


def _simulating(question: str) -> None:
    _say(f"simulating: {question}")


def _say(what: str) -> None:
    if sys.stderr.isatty():
        print(f"{what} …", file=sys.stderr)
