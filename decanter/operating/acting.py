"""Acts, which are begun and then done in steps, and tries. Each returns the exit code of its
command."""

import sys
import time
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from decanter.operating import filters, looking, tables
from decanter.operating.client import Client
from decanter.operating.documents import Json, parsed
from decanter.operating.endpoint import OperatingError

STOPPED = 130
_COMMAND = "python -m decanter ops"
_PAUSE_SECONDS = 1.0


def rehearse(client: Client, given: Namespace) -> int:
    """Try writes without applying them; 1 if one of them would not be applied."""
    edited = _edited(given)
    writes = [{"id": id_, **({"row": edited[id_]} if id_ in edited else {})} for id_ in given.ids]
    found = client.post("try", {"writes": writes})
    if given.json:
        tables.json_text(found)
    else:
        names = ("id", "outcome", "type", "reason", "changed_since", "changed_at")
        rows = [[tables.short(each[name]) for name in names] for each in found["outcomes"]]
        tables.show([name.replace("_", " ") for name in names], rows)
    return int(any(each["outcome"] != "applied" for each in found["outcomes"]))


def resend(client: Client, given: Namespace) -> int:
    """Resend rejections."""
    edited = _edited(given)
    return _correct(client, given, "resend", {"rows": edited} if edited else {})


def discard(client: Client, given: Namespace) -> int:
    """Discard rejections."""
    return _correct(client, given, "discard", {})


def redrive(client: Client, given: Namespace) -> int:
    """Redrive dead letters."""
    about = {"buffer": given.buffer, "per_second": given.per_second}
    return _begin(client, given, {"kind": "redrive", **about})


def pause(client: Client, given: Namespace) -> int:
    """Pause the drain of a buffer."""
    return _begin(client, given, {"kind": "pause", "buffer": given.buffer})


def resume(client: Client, given: Namespace) -> int:
    """Resume the drain of a buffer."""
    return _begin(client, given, {"kind": "resume", "buffer": given.buffer})


def act(client: Client, given: Namespace) -> int:
    """Show an act, or go on with it."""
    found = client.get(f"acts/{quote(given.id, safe='')}")
    if given.go_on:
        return _go_on(client, given, found)
    if given.json:
        tables.json_text(found)
        return 0
    tables.members({name: value for name, value in found.items() if name != "steps"})
    columns = ("step", "at", "who", "done", "failed", "state", "detail")
    rows = [[tables.short(each.get(name)) for name in columns] for each in found["steps"]]
    tables.show(columns, rows)
    return 0


def stop(client: Client, given: Namespace) -> int:
    """Stop an act."""
    found = client.post(f"acts/{quote(given.id, safe='')}/stop", {})
    _report(found, given)
    return 0


def _correct(client: Client, given: Namespace, kind: str, more: Mapping[str, Any]) -> int:
    """Correct the rejections with these ids, or all that match, which are counted first."""
    query = filters.chosen(given)
    if bool(given.ids) == bool(query or given.all):
        given.usage("give ids, or filters (--all without any), and not both")
    if given.ids:
        return _begin(client, given, {"kind": kind, "ids": given.ids, **more})
    if more:
        given.usage("an edited row goes with the id of its rejection")
    causes = client.get("rejections/causes", query)["causes"]
    count = sum(each["open"] for each in causes)
    if not count:
        raise OperatingError("No rejection matches that is neither resent nor discarded.")
    if not given.json:
        looking.by_cause(causes)
    if not given.yes and not _agreed(f"{kind.capitalize()} {count:,} writes?"):
        print("Nothing was done.", file=sys.stderr)
        return 1
    chosen = {"filter": filters.members(query), "expect": count}
    return _begin(client, given, {"kind": kind, **chosen})


def _agreed(question: str) -> bool:
    """Whether a person agrees. Raise OperatingError if there is none to ask."""
    if not sys.stdin.isatty():
        raise OperatingError(f"{question} Nobody can be asked here; give --yes.")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _begin(client: Client, given: Namespace, body: Json) -> int:
    return _go_on(client, given, client.begin({**body, "note": given.note}))


def _go_on(client: Client, given: Namespace, found: Json) -> int:
    """Ask for step after step until the act is over; Ctrl-C stops the asking."""
    id_ = found["id"]
    hint = f"Go on with: {_COMMAND} act {id_} --continue. End it with: {_COMMAND} stop {id_}"
    try:
        found = _steps(client, found)
    except KeyboardInterrupt:
        print(f"\nNo more steps are asked for. {hint}", file=sys.stderr)
        return STOPPED
    except OperatingError as error:
        raise OperatingError(f"{error}\n{hint}", error.type) from error
    _report(found, given)
    is_good = found["state"] == "done" and not found["failed"]
    if not is_good:
        print(f"Why: {_COMMAND} act {id_}", file=sys.stderr)
    return int(not is_good)


def _steps(client: Client, found: Json) -> Json:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(found["kind"], total=found["writes"])
        while found["state"] in ("begun", "running"):
            before = found["done"], found["failed"]
            found = client.post(f"acts/{found['id']}/steps", {})
            progress.update(task, completed=int(found["done"] + found["failed"]))
            if found["state"] == "running" and before == (found["done"], found["failed"]):
                time.sleep(_PAUSE_SECONDS)
    return found


def _report(found: Json, given: Namespace) -> None:
    if given.json:
        tables.json_text(found)
        return
    writes = "" if found["writes"] is None else f": {found['done']:,} of {found['writes']:,} writes"
    if found["kind"] == "redrive":
        writes = f": {found['done']:,} messages"
    failed = f", {found['failed']:,} could not be" if found["failed"] else ""
    state = f"{tables.plain(found['kind'])} {tables.plain(found['id'])}"
    tables.line(f"{state} is {tables.plain(found['state'])}{writes}{failed}.")


def _edited(given: Namespace) -> dict[str, Any]:
    """The edited row by the id of its rejection, if there is one."""
    if given.row is None:
        return {}
    if len(given.ids) != 1:
        given.usage("--row goes with one id")
    return {given.ids[0]: _row(given.row)}


def _row(text: str) -> Json:
    """A row from JSON text, or from a file (@name). Raise OperatingError."""
    if text.startswith("@"):
        text = Path(text[1:]).read_text(encoding="utf-8")
    try:
        return parsed(text.encode())
    except OperatingError:
        raise OperatingError(f"The row is no JSON object: {tables.short(text)}") from None
