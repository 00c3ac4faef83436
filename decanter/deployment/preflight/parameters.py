"""Checks of the template's parameters and of the secrets that they name."""

from collections.abc import Iterator, Mapping

from chalicelib.postgres.connecting.access import objection
from decanter.deployment import functions, secrets
from decanter.deployment.aws import Aws
from decanter.deployment.findings import Finding
from decanter.deployment.plan import DeploymentPlan


def parameters(plan: DeploymentPlan, values: Mapping[str, str | None]) -> Iterator[Finding]:
    """Check that all parameters are known, and have values of their types."""
    known = plan.package.template["Parameters"]
    for name in sorted({*plan.parameters} - {*known}):
        yield Finding(
            "unknown-parameter",
            f"the template has no parameter {name}; there are {', '.join(sorted(known))}.",
        )
    for name, value in values.items():
        if value is None:
            yield Finding(
                "missing-parameter",
                f"the parameter {name} has no value: {known[name]['Description']} Give it as"
                f" --parameter {name}=VALUE.",
            )
        elif known[name]["Type"] == "Number" and not value.isdecimal():
            yield Finding(
                "parameter",
                f"the parameter {name} is {value!r}. Give it a whole number: {name}=NUMBER.",
            )


def secret_values(aws: Aws, values: Mapping[str, str | None]) -> Iterator[Finding]:
    """Check that the secrets exist, and that their URLs can be used."""
    for parameter in functions.secret_parameters():
        if not (secret := values[parameter]):
            continue
        if (value := secrets.read(aws, secret)) is None:
            yield secrets.missing(parameter, secret)
        elif parameter != "ReceiptKeySecret" and (why := objection(value)):
            yield secrets.unsafe(secret, why)
