"""Programs that start an API function and answer its first write, each for a fresh interpreter with
the event as its argument.

Only the network is missing: a hook gives the client its answer right before it would send.
`client` is the minimum: Chalice and an SQS client of boto3, without any request.
"""

from inspect import getsource

from benchmarks.intake import peers

_SENT = '{"MessageId": "m", "MD5OfMessageBody": "5", "SequenceNumber": "1"}'
_FIRST = f"""
BODY = {_SENT.encode()!r}
from botocore.awsrequest import AWSResponse
class Raw:
    def stream(self, **_):
        yield BODY
def answer(request, **_):
    return AWSResponse(request.url, 200, {{"Content-Type": "application/x-amz-json-1.0"}}, Raw())
client.meta.events.register("before-send.sqs", answer)
import json, sys
from types import SimpleNamespace
context = SimpleNamespace(aws_request_id="11111111-2222-4333-8444-555555555555")
answer = handler(json.loads(sys.argv[1]), context)
assert answer["statusCode"] == 202, answer
"""
_PEER = """
from benchmarks.intake import peers
made = peers.client()
peers.client = lambda: made
client = made
handler = peers.{peer}()
"""
STARTS = {
    "client": f"""
from chalice.app import Chalice
app = Chalice(app_name="bare")
from typing import Any
{getsource(peers.client)}
client()
""",
    "ours": """
import app
from chalicelib.buffer.sqs import put
client = put._client()
handler = app.app
"""
    + _FIRST,
    "bare": _PEER.format(peer="bare") + _FIRST,
    "powertools": _PEER.format(peer="powertools") + _FIRST,
}
