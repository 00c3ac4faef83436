"""The plan of a deployment, which the preflight checks and ``deploy`` carries out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from decanter.deployment.budget import Holder
from decanter.deployment.cloudformation import StackState
from decanter.package import Package


@dataclass(frozen=True)
class DeploymentPlan:
    """What to deploy, and how.

    name: of the stack, and the prefix of its queues' names. bucket: for the code; None: the default
    one of the account and region. parameters: of the template; the rest keep their values. force:
    migrate even if queued messages break. shows_sql: print the SQL of migrations. holders: of the
    connections that the database must grant. loads_rows: rows that Postgres has are loaded into the
    front table afterwards, as on the local cloud.
    """

    package: Package
    name: str
    bucket: str | None
    parameters: Mapping[str, str]
    force: bool = False
    shows_sql: bool = False
    holders: Sequence[Holder] = ()
    loads_rows: bool = False

    def values(self, stack: StackState) -> dict[str, str | None]:
        """Values of all parameters of the template; None: missing. stack: as it is deployed."""
        known = self.package.template["Parameters"]
        defaults = {name: str(each["Default"]) for name, each in known.items() if "Default" in each}
        values = {**defaults, **stack.parameters, **self.parameters}
        return {name: values.get(name) for name in known}
