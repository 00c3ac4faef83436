"""The variable in which a deployed API function says where its resources are."""

from collections.abc import Mapping

VARIABLE = "DECANTER_FRONTS"


def variables(fronts: Mapping[str, str]) -> dict[str, str]:
    """The variable for the resources that are not behind SQS: `dynamodb` or `closed` for each."""
    return {VARIABLE: ",".join(f"{name}={fronts[name]}" for name in sorted(fronts))}


def read(environment: Mapping[str, str]) -> dict[str, str]:
    """The resources that are not behind SQS, by the variables of the API function."""
    pairs = filter(None, environment.get(VARIABLE, "").split(","))
    return {name: state for name, _, state in (pair.partition("=") for pair in pairs)}
