"""Checks of the template's parameters and of the secrets that they name."""

from collections.abc import Iterator, Mapping

from decanter.deployment import functions
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


def secrets(aws: Aws, values: Mapping[str, str | None]) -> Iterator[Finding]:
    """Check that the secrets exist, and that their URLs can be used."""
    from chalicelib.postgres.connecting.access import objection

    client = aws("secretsmanager")
    for parameter in functions.secret_parameters():
        if not (secret := values[parameter]):
            continue
        try:
            value = client.get_secret_value(SecretId=secret)["SecretString"]
        except client.exceptions.ResourceNotFoundException:
            yield missing_secret(parameter, secret)
            continue
        if parameter != "ReceiptKeySecret" and (why := objection(value)):
            yield unsafe_url(secret, why)


def missing_secret(parameter: str, secret: str) -> Finding:
    """The finding for a secret that does not exist. parameter: of the template."""
    if parameter in ("DatabaseUrlSecret", "ReceiptKeySecret"):
        what = "the URL of the database" if parameter.startswith("D") else "the receipt key"
        cure = (
            f"run `aws secretsmanager create-secret --name {secret} --secret-string file://FILE`"
            f" with {what} in FILE"
        )
    else:
        cure = "`python -m decanter secrets` makes it from the owner's URL"
    return Finding("missing-secret", f"the secret {secret} ({parameter}) does not exist: {cure}.")


def unsafe_url(secret: str, why: str) -> Finding:
    """The finding for a URL that functions would refuse."""
    return Finding("unsafe-url", f"in the secret {secret}: {why}")
