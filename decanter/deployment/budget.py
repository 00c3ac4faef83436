"""How many connections a stage may hold, and how many it is granted.

Caps are read where they are set: of the queues' mappings in ``app.py``, of the functions in
``.chalice/config.json``. Whichever is lower binds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from decanter.deployment import preflight, template
from decanter.deployment.preflight import Fault


@dataclass(frozen=True)
class Holder:
    """A function that may hold connections, one in each container.

    kind: of its database role, or "owner". mapping: most invocations of its queue; reserved: of
    all. None: no limit.
    """

    function: str
    kind: str
    mapping: int | None
    reserved: int | None

    @property
    def cap(self) -> int | None:
        """Most containers that work at once."""
        return min((each for each in (self.mapping, self.reserved) if each), default=None)

    @property
    def most(self) -> int:
        """Most connections, those of idle containers of the version before included."""
        return template.OVERLAP * (self.cap or 0)

    @property
    def set_by(self) -> str:
        """What sets the cap."""
        named = {"maximum_concurrency": self.mapping, "reserved_concurrency": self.reserved}
        return ", ".join(f"{name} {value}" for name, value in named.items() if value) or "nothing"


def holders(project: Path, stage: str) -> list[Holder]:
    """All functions of a stage that may hold connections. Raises ConfigurationError."""
    mappings = template.mappings(project, stage)
    kinds = {name: kind for kind, names in template.KINDS.items() for name in names}
    return [
        Holder(
            name,
            kinds.get(name, "owner"),
            mappings.get(name),
            template.function_setting(project, stage, name, "reserved_concurrency"),
        )
        for name in template.HOLDERS
    ]


def faults(found: Sequence[Holder], granted: Mapping[str, Any] | None) -> list[Fault]:
    """Why the budget is none, or is more than the database grants.

    granted: what the migrate function answers to ``{"budget": true}``; None: nobody knows.
    """
    wrong = [
        Fault(
            "no-cap",
            f"nothing limits how many containers of {each.function} there are: set"
            " reserved_concurrency in .chalice/config.json.",
        )
        for each in found
        if each.cap is None
    ]
    if granted is None:
        return wrong
    wrong += preflight.connections(granted, sum(each.cap or 0 for each in found))
    # Without roles of their own, all functions log in as the owner.
    as_owner = [each for each in found if each.kind == "owner" or not granted["role_limits"]]
    needed = sum(each.most for each in as_owner)
    if 0 <= granted["owner_limit"] < needed:
        wrong.append(
            Fault(
                "owner-limit",
                f"the role {granted['owner']} may have {granted['owner_limit']} connections, and"
                f" the functions that log in as it up to {needed}: ALTER ROLE {granted['owner']}"
                f" CONNECTION LIMIT {needed}.",
            )
        )
    return wrong


def table(found: Sequence[Holder]) -> list[str]:
    """The functions with their caps, and the sums, in lines."""
    rows = [
        ("function", "cap", "deploying", "role", "set by"),
        *[
            (each.function, str(each.cap or "none"), str(each.most), each.kind, each.set_by)
            for each in found
        ],
        ("sum", str(sum(each.cap or 0 for each in found)), str(sum(e.most for e in found)), "", ""),
    ]
    return [
        f"{function:<16}{cap:>5}{most:>11}  {role:<8}{set_by}".rstrip()
        for function, cap, most, role, set_by in rows
    ]


def left(granted: Mapping[str, Any]) -> str:
    """What the database grants, in a line."""
    reserved = granted["superuser_reserved_connections"] + granted["reserved_connections"]
    text = (
        f"the database: max_connections {granted['max_connections']}, {reserved} reserved,"
        f" {granted['others']} of other programs"
    )
    limit = granted["database_limit"]
    return text if limit < 0 else f"{text}; {limit} for this database"


def granted(project: Path, stage: str, url: str | None) -> dict[str, Any] | None:
    """What the database grants; None: no stage is deployed that could be asked.

    url: of the database, in place of the one that the stage's migrate function asks.
    """
    import psycopg2
    from botocore.exceptions import ClientError, NoCredentialsError, NoRegionError

    from chalicelib.migrate import capacity
    from decanter.deployment import deploy, pipeline

    if url is not None:
        try:
            return capacity.granted(url)
        except psycopg2.OperationalError as error:
            raise deploy.DeploymentError(f"The database cannot be reached: {error}") from error
    try:
        function = pipeline.migrate_function(project, stage)
        return deploy.invoke(pipeline.client, function, {"budget": True})
    except (NoCredentialsError, NoRegionError):
        return None
    except ClientError as error:
        if error.response["Error"]["Code"] == "ResourceNotFoundException":
            return None
        raise
