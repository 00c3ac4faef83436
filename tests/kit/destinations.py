"""Topics and a bus that events are published to."""

from chalicelib import stage

_AT = "eu-central-1:123456789012"


def destination(arn: str) -> stage.Destination:
    """The destination of that ARN."""
    found = stage.events({"DECANTER_EVENTS": arn})
    assert found is not None
    return found


TOPIC = destination(f"arn:aws:sns:{_AT}:requests")
FIFO = destination(f"arn:aws:sns:{_AT}:requests.fifo")
BUS = destination(f"arn:aws:events:{_AT}:event-bus/requests")
