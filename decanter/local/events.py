"""The topic or bus of a stage, on the local cloud."""

from chalicelib.stage import Destination
from decanter.deployment.stage import Stage
from decanter.local.ministack import REGION, MiniStack

_ACCOUNT = "000000000000"  # MiniStack's


def localized(stage: Stage) -> Stage:
    """The stage, with a topic or bus of the same name on the local cloud, if it publishes
    events."""
    if stage.events is None:
        return stage
    kind = "" if stage.events.is_topic else "event-bus/"
    service, name = stage.events.service, stage.events.name
    return stage.with_events(f"arn:aws:{service}:{REGION}:{_ACCOUNT}:{kind}{name}")


def make(cloud: MiniStack, events: Destination | None) -> None:
    """Make the topic or bus, if it does not exist."""
    if events is None:
        return
    client = cloud.client(events.service)
    if events.is_topic:
        attributes = {"FifoTopic": "true"} if events.is_fifo else {}
        client.create_topic(Name=events.name, Attributes=attributes)
    elif events.name not in [each["Name"] for each in client.list_event_buses()["EventBuses"]]:
        client.create_event_bus(Name=events.name)
