"""Checks of the topic or bus that events about requests are published to."""

from collections.abc import Iterator

from chalicelib import stage
from chalicelib.aws import code
from decanter.deployment import functions
from decanter.deployment.aws import Aws, is_local
from decanter.deployment.findings import Finding
from decanter.deployment.references import Json
from decanter.deployment.stage import CONFIG_FILE

_MISSING = ("NotFound", "NotFoundException", "ResourceNotFoundException")
_HIDDEN = ("AuthorizationError", "AccessDenied", "AccessDeniedException")
"""Codes of AWS where somebody else's topic or bus may not be looked at, only published to."""


def destination(aws: Aws, document: Json) -> Iterator[Finding]:
    """Check what events are published to, if they are. document: the packaged template."""
    publish = document["Resources"].get(functions.function("publish").logical)
    if publish is None:
        return
    properties = publish["Properties"]
    if (wanted := stage.events(properties["Environment"]["Variables"])) is None:
        return
    if properties.get("ReservedConcurrentExecutions") != 1:
        yield Finding(
            "events-concurrency",
            "publish has to have reserved_concurrency 1: of two at a time, each would publish the"
            f" events of the other again. Set it to 1 in {CONFIG_FILE}.",
        )
    if wanted.region != (region := aws(wanted.service).meta.region_name):
        yield Finding(
            "events-region",
            f"DECANTER_EVENTS is {wanted.arn}, in {wanted.region}, and the stage is deployed in"
            f" {region}. Set it to the ARN of a topic or bus in {region}, in {CONFIG_FILE}; that"
            " may have subscribers in other regions.",
        )
    elif not _exists(aws, wanted):
        yield Finding(
            "events-missing",
            f"the {'topic' if wanted.is_topic else 'bus'} {wanted.arn} does not exist. Create it"
            f" first, or set DECANTER_EVENTS in {CONFIG_FILE} to one that does.",
        )


def _exists(aws: Aws, wanted: stage.Destination) -> bool:
    """Whether it exists, as far as it may be looked at."""
    from botocore.exceptions import ClientError

    # MiniStack knows buses by their names only.
    bus = wanted.name if is_local(aws) else wanted.arn
    try:
        if wanted.is_topic:
            aws("sns").get_topic_attributes(TopicArn=wanted.arn)
        else:
            aws("events").describe_event_bus(Name=bus)
    except ClientError as error:
        if code(error) in _MISSING:
            return False
        if code(error) not in _HIDDEN:
            raise
    return True
