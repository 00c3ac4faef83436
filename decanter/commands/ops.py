"""See, understand and correct what becomes of writes, with the calls under /ops."""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from importlib import import_module

from decanter.commands import options

_Arguments = Callable[[ArgumentParser], None]
_BUFFERS = ("ordered", "unordered", "stream")
_QUEUES = _BUFFERS[:2]


def arguments(parser: ArgumentParser) -> None:
    help_ = "what to do; each has its own --help"
    found = parser.add_subparsers(required=True, metavar="call", help=help_)
    for name, (function, text, declare) in CALLS.items():
        call = found.add_parser(name, help=text, description=f"{text}.")
        declare(call)
        _common(call)
        call.set_defaults(call=function, usage=call.error)


def run(given: Namespace) -> int:
    """Return 1 if it did not succeed."""
    from decanter.operating import endpoint
    from decanter.operating.client import Client

    module, _, function = given.call.partition(".")
    call = getattr(import_module(f"decanter.operating.{module}"), function)
    return int(call(Client(endpoint.find(given)), given))


def _common(parser: ArgumentParser) -> None:
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--url", help="address of the API (DECANTER_URL; else the local cloud)")
    where.add_argument("--stage", help="stage in .chalice/config.json, whose stack has the address")
    token = "token with the scopes ops:read and ops:write (DECANTER_TOKEN; without one, AWS signs)"  # noqa: S105
    parser.add_argument("--token", help=token)
    parser.add_argument("--json", action="store_true", help="print JSON")
    options.data_dir(parser)


def _nothing(_: ArgumentParser) -> None:
    """It takes what all calls take."""


def _filters(parser: ArgumentParser) -> None:
    from decanter.operating import filters

    filters.rejections(parser)
    filters.state(parser)


def _listed(parser: ArgumentParser) -> None:
    text = "most entries (100; with --json, all)"
    parser.add_argument("--limit", type=options.positive, metavar="N", help=text)


def _rejections(parser: ArgumentParser) -> None:
    _filters(parser)
    _listed(parser)


def _id(text: str) -> _Arguments:
    def declare(parser: ArgumentParser) -> None:
        parser.add_argument("id", metavar="ID", help=text)

    return declare


def _row(parser: ArgumentParser) -> None:
    text = "the edited row as JSON, or @FILE with it"
    parser.add_argument("--row", metavar="JSON", help=text)


def _try(parser: ArgumentParser) -> None:
    parser.add_argument("ids", nargs="+", metavar="ID", help="of a rejection")
    _row(parser)


def _correct(parser: ArgumentParser) -> None:
    from decanter.operating import filters

    parser.add_argument("ids", nargs="*", metavar="ID", help="of a rejection; or use filters")
    parser.add_argument("--all", action="store_true", help="all open rejections")
    parser.add_argument("--yes", action="store_true", help="do not ask whether to begin")
    filters.rejections(parser)
    _note(parser)


def _resend(parser: ArgumentParser) -> None:
    _correct(parser)
    _row(parser)


def _note(parser: ArgumentParser) -> None:
    parser.add_argument("--note", default="", metavar="TEXT", help="why, for the list of acts")


def _acts(parser: ArgumentParser) -> None:
    from decanter.operating import filters

    kinds = ("resend", "discard", "redrive", "pause", "resume")
    parser.add_argument("--kind", choices=kinds, help="of this kind")
    parser.add_argument("--who", help="by this caller")
    filters.times(parser, "begun")
    _listed(parser)


def _act(parser: ArgumentParser) -> None:
    _id("of an act")(parser)
    text = "go on with its steps"
    parser.add_argument("--continue", dest="go_on", action="store_true", help=text)


def _dead_letters(parser: ArgumentParser) -> None:
    parser.add_argument("--buffer", choices=_QUEUES, help="of this queue alone")


def _redrive(parser: ArgumentParser) -> None:
    parser.add_argument("buffer", choices=_QUEUES, help="whose dead letters")
    text = "messages a second, from 1 to 500 (50)"
    parser.add_argument("--per-second", type=options.positive, default=50, metavar="N", help=text)
    _note(parser)


def _buffer(parser: ArgumentParser) -> None:
    parser.add_argument("buffer", choices=_BUFFERS, help="whose drain")
    _note(parser)


def _find(parser: ArgumentParser) -> None:
    from decanter.operating import filters

    parser.add_argument("--receipt", help="of the request with this receipt")
    parser.add_argument("--resource", help="of this resource, with --key or times")
    filters.key(parser)
    filters.times(parser, "accepted")
    _listed(parser)


def _audit(parser: ArgumentParser) -> None:
    text = "begin of the hour, such as 2026-01-31T12:00:00Z (the last whole hour)"
    parser.add_argument("--hour", metavar="TIME", help=text)


def _export(parser: ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="to write; - is standard output")
    text = "(by the end of the file's name, or ndjson)"
    parser.add_argument("--format", choices=("ndjson", "csv"), help=text)
    _filters(parser)


CALLS: dict[str, tuple[str, str, _Arguments]] = {
    "overview": ("looking.overview", "Throughput, backlog, lag, connections", _nothing),
    "lanes": ("looking.lanes", "Lanes in which writes wait, and for what", _nothing),
    "causes": ("looking.causes", "Rejections by their causes", _filters),
    "rejections": ("looking.rejections", "Rejections, one by one", _rejections),
    "export": ("exporting.export", "All rejections that match, into a file", _export),
    "show": ("looking.one", "A rejection; or all that became of a message or request", _id(
        "of a rejection, a message, or a receipt")),
    "find": ("looking.find", "Writes, by receipt, key or time", _find),
    "try": ("acting.rehearse", "What would become of rejected writes now", _try),
    "resend": ("acting.resend", "Send rejected writes again", _resend),
    "discard": ("acting.discard", "Set rejected writes aside", _correct),
    "acts": ("looking.acts", "What operators have done", _acts),
    "act": ("acting.act", "One of these acts, with its steps", _act),
    "stop": ("acting.stop", "Stop an act", _id("of an act")),
    "dead-letters": ("looking.dead_letters", "Look into the dead-letter queues", _dead_letters),
    "redrive": ("acting.redrive", "Move dead letters back to their queue", _redrive),
    "pause": ("acting.pause", "Pause the drain of a buffer; writes wait in it", _buffer),
    "resume": ("acting.resume", "Resume the drain of a buffer", _buffer),
    "audit": ("looking.audit", "Whether all that was accepted in an hour is accounted for", _audit),
}  # fmt: skip
"""By name: the function that is called, what it does, and what it takes."""
