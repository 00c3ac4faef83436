"""JSON Schemas of what operators send and get, for the document of these calls."""

from collections.abc import Mapping
from typing import Any

Schema = dict[str, Any]


def _object(optional: Mapping[str, Schema] | None = None, /, **members: Schema) -> Schema:
    """An object with all of these members, and perhaps the optional ones."""
    properties = {**members, **(optional or {})}
    return {"type": "object", "required": [*members], "properties": properties}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _or_null(schema: Schema) -> Schema:
    if "type" in schema and "enum" not in schema:
        return {**schema, "type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]}


def _one_of(*texts: str) -> Schema:
    return {"type": "string", "enum": [*texts]}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _about(schema: Schema, text: str) -> Schema:
    return {**schema, "description": text}


TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
COUNT: Schema = {"type": "integer", "minimum": 0}
YES: Schema = {"type": "boolean"}
TIME: Schema = {"type": "string", "format": "date-time"}
ANY: Schema = {}
ID = _about(TEXT, "of a rejection: a dedup ID, a point, and an item")
CURSOR = _about(_or_null(TEXT), "`cursor` of the next page; null at the end")
BUFFER = _one_of("ordered", "unordered", "stream")
QUEUE = _one_of("ordered", "unordered")
KIND = _one_of("resend", "discard", "redrive", "pause", "resume")
UNKNOWN = _about(
    _list(_object(what=TEXT, why=TEXT)),
    "what could not be found out, and why; its members are null, not 0",
)
FILTER = _about(
    _object(
        {
            **dict.fromkeys(
                ("resource", "type", "constraint", "column", "sqlstate", "caller", "receipt"), TEXT
            ),
            "key": {"type": "object"},
            "since": TIME,
            "until": TIME,
            "state": _one_of("open", "resent", "discarded", "all"),
        }
    ),
    "the same filters as those of GET /ops/rejections",
)
_TARGET = {
    "ids": _about(_list(ID), "1 to 1,000 rejections; or a filter"),
    "filter": FILTER,
    "expect": _about(COUNT, "with a filter: the number that the operator was shown"),
}
_NOTE = _about({"type": "string", "maxLength": 1000}, "why")


def _begin(kind: str, optional: Mapping[str, Schema] | None = None, **members: Schema) -> Schema:
    return _object({"note": _NOTE, **(optional or {})}, kind={"const": kind}, **members)


_REJECTION = _object(
    {"unknown": UNKNOWN},
    id=ID,
    dedup_id=TEXT,
    item=COUNT,
    resource=_or_null(TEXT),
    op=_or_null(TEXT),
    type=TEXT,
    reason=TEXT,
    sqlstate=_or_null(TEXT),
    constraint=_or_null(TEXT),
    column=_or_null(TEXT),
    row=_about(ANY, "as it was sent"),
    body=_about(_or_null(TEXT), "of a message that could not be read"),
    caller=_or_null(TEXT),
    rejected_at=TIME,
    correction=_or_null(
        _object(
            kind=_one_of("resend", "discard"),
            act=TEXT,
            resent_as=_about(_or_null(TEXT), "dedup ID of the write that was sent in its place"),
            at=TIME,
        )
    ),
)
_ACT = {
    "id": TEXT,
    "kind": TEXT,
    "who": TEXT,
    "note": TEXT,
    "target": {"type": "object"},
    "writes": _about(_or_null(COUNT), "how many it is to be done to; null where that is unknown"),
    "done": COUNT,
    "failed": COUNT,
    "state": _one_of("begun", "running", "done", "stopped"),
    "begun_at": TIME,
    "last_at": TIME,
}
_STEP = _object(
    step=COUNT,
    who=TEXT,
    done=COUNT,
    failed=COUNT,
    state=TEXT,
    detail=_or_null({"type": "object"}),
    at=TIME,
)
_ESTIMATE = _object(
    seconds=_or_null(NUMBER),
    at=_or_null(TIME),
    writes_ahead=_or_null(COUNT),
    writes_per_second=_or_null(NUMBER),
    basis=TEXT,
)
_BUFFER_NOW = _object(
    name=BUFFER,
    queued=_or_null(COUNT),
    in_flight=_or_null(COUNT),
    oldest_seconds=_or_null(NUMBER),
    dead_letters=_or_null(COUNT),
    mapping=_or_null(_object(state=TEXT, paused=YES)),
    connections={"type": "null"},
    estimate=_ref("Estimate"),
)
_RESOURCE_NOW = _object(
    name=TEXT,
    front=TEXT,
    ordered=YES,
    writes_per_minute=COUNT,
    lag=_or_null(_object(p50=NUMBER, p95=NUMBER, p99=NUMBER)),
    rejected_last_hour=COUNT,
    waiting=COUNT,
)
_OVERVIEW = _object(
    at=TIME,
    resources=_or_null(_list(_RESOURCE_NOW)),
    buffers=_list(_BUFFER_NOW),
    waiting=_or_null(_list(_object(reason=TEXT, writes=COUNT, since=TIME))),
    connections=_list(_object(role=TEXT, in_use=_or_null(COUNT), most=_or_null(COUNT))),
    budget=_or_null(COUNT),
    rejections=_or_null(
        _list(_object(resource=_or_null(TEXT), type=TEXT, constraint=_or_null(TEXT), writes=COUNT))
    ),
    history=_or_null(
        _object(
            minutes=_list(TIME),
            written=_list(COUNT),
            rejected=_list(COUNT),
            lag_p50=_list(_or_null(NUMBER)),
            lag_p95=_list(_or_null(NUMBER)),
        )
    ),
    estimate_score=_or_null(
        _object(
            scored=COUNT,
            median_error_seconds=_or_null(NUMBER),
            within_factor_2=_or_null(NUMBER),
            basis=TEXT,
        )
    ),
    unknown=UNKNOWN,
)
_LANES = _object(
    lanes=_list(
        _object(
            lane=_or_null(COUNT),
            waiting=COUNT,
            blocking=_or_null(_object(id=TEXT, resource=_or_null(TEXT), reason=TEXT, since=TIME)),
        )
    ),
    basis=TEXT,
)
_CAUSES = _object(
    {"unknown": UNKNOWN},
    causes=_list(
        _object(
            resource=_or_null(TEXT),
            type=TEXT,
            constraint=_or_null(TEXT),
            column=_or_null(TEXT),
            sqlstate=_or_null(TEXT),
            writes=COUNT,
            open=COUNT,
            first_at=TIME,
            last_at=TIME,
            example=ID,
        )
    ),
)
_WRITES = _object(
    writes=_list(
        _object(
            id=TEXT,
            resource=_or_null(TEXT),
            writes=COUNT,
            accepted_at=_or_null(TIME),
            poured_at=TIME,
            rejected=COUNT,
            waiting=COUNT,
        )
    ),
    next=CURSOR,
    unknown=UNKNOWN,
)
_EVENT = _object(
    at=_or_null(TIME),
    what=_one_of("accepted", "poured", "rejected", "waiting", "resent", "discarded", "resent-from"),
    detail=TEXT,
    item=_or_null(COUNT),
    writes=COUNT,
    act=_or_null(TEXT),
    other=_about(_or_null(TEXT), "the message that it was resent as, or from"),
)
_DEAD_LETTER = _object(
    message_id=TEXT,
    id=_or_null(TEXT),
    resource=_or_null(TEXT),
    op=_or_null(TEXT),
    writes=_or_null(COUNT),
    accepted_at=_or_null(TIME),
    sent_at=TIME,
    receives=COUNT,
    poured=_or_null(YES),
    newer=_about(_or_null(YES), "whether a newer write to one of its keys was poured"),
    reason=_about(_or_null(TEXT), "why it cannot be read"),
)
_OUTCOME = _object(
    id=ID,
    outcome=_one_of("applied", "rejected", "waiting"),
    type=_or_null(TEXT),
    reason=_or_null(TEXT),
    changed_since=_about(_or_null(YES), "whether a newer write to its key was applied"),
    changed_at=_or_null(TIME),
)
_MAPPING = _object(
    buffer=BUFFER, state=_or_null(TEXT), paused=_or_null(YES), changed_at=_or_null(TEXT)
)
_TRAFFIC = _object(
    now=TIME,
    hours=_about(_list(TIME), "their beginnings; the last one is not over"),
    sampled_share=_about(NUMBER, "of the ledger that was read; counts are scaled up"),
    resources=_list(
        _object(
            name=TEXT,
            buffer=BUFFER,
            messages=_about(_list(COUNT), "of each hour"),
            requests=_list(COUNT),
            writes=_list(COUNT),
            busiest_minute=_about(_list(COUNT), "requests of the busiest minute of each hour"),
            keys=_about(
                _or_null(
                    _object(
                        writes=COUNT,
                        keys=COUNT,
                        once=_about(COUNT, "keys with a single write"),
                        twice=COUNT,
                        top=_about(_list(COUNT), "writes to each of the most frequent keys"),
                    )
                ),
                "of a sample of its writes",
            ),
            ops=_or_null(_object(inserted=COUNT, updated=COUNT, deleted=COUNT, basis=TEXT)),
            row_bytes=_or_null(_object(mean=COUNT, basis=TEXT)),
        )
    ),
    unknown=UNKNOWN,
)
_ACCOUNTED = dict.fromkeys(("accepted", "applied", "rejected", "waiting", "missing"), COUNT)

SCHEMAS: Mapping[str, Schema] = {
    "Problem": _object(
        {"errors": _list(_object(pointer=TEXT, rule=TEXT, detail=TEXT))},
        type=TEXT,
        title=TEXT,
        status=COUNT,
        detail=TEXT,
        instance=TEXT,
    ),
    "Estimate": _about(_ESTIMATE, "when what waits now will be poured"),
    "Overview": _OVERVIEW,
    "Lanes": _LANES,
    "Rejection": _REJECTION,
    "Rejections": _object(rejections=_list(_ref("Rejection")), next=CURSOR),
    "Causes": _CAUSES,
    "Traffic": _TRAFFIC,
    "Writes": _WRITES,
    "Timeline": _object(id=TEXT, resource=_or_null(TEXT), events=_list(_EVENT), unknown=UNKNOWN),
    "Act": _object(**_ACT),
    "Acts": _object(acts=_list(_ref("Act")), next=CURSOR),
    "ActWithSteps": _object(**_ACT, steps=_about(_list(_STEP), "the last 100")),
    "NewAct": {
        "oneOf": [
            _begin("resend", {**_TARGET, "rows": _about({"type": "object"}, "edited rows by id")}),
            _begin("discard", _TARGET),
            _begin("redrive", buffer=QUEUE, per_second={**COUNT, "minimum": 1, "maximum": 500}),
            _begin("pause", buffer=BUFFER),
            _begin("resume", buffer=BUFFER),
        ]
    },
    "Tried": _object(writes=_list(_object({"row": {"type": "object"}}, id=ID))),
    "Outcomes": _object(outcomes=_list(_OUTCOME)),
    "DeadLetters": _object(
        buffer=QUEUE, count=COUNT, messages=_list(_DEAD_LETTER), unknown=UNKNOWN
    ),
    "Mappings": _object(mappings=_list(_MAPPING), unknown=UNKNOWN),
    "Audit": _object(
        hour=TIME,
        resources=_list(_object(resource=TEXT, **_ACCOUNTED)),
        missing=_list(_object(id=TEXT, resource=TEXT, writes=COUNT, accepted_at=TIME)),
        is_complete=YES,
        next=CURSOR,
        unknown=UNKNOWN,
    ),
}
"""By their names in the document."""
