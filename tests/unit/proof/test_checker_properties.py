"""The checker accepts random histories that are right, and sees whatever is changed in one."""

from dataclasses import replace

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from chalicelib.ops import OPS
from decanter.proof.checker import check
from decanter.proof.tables import KEYS
from tests.kit.story import Story, changed, kinds

_ADDING = [facts.op for facts in OPS.values() if facts.only_adds]


@st.composite
def histories(draw):
    """Random requests, poured in the order in which they were accepted."""
    story = Story()
    has_places = draw(st.booleans())
    for _ in range(draw(st.integers(1, 14))):
        resource = draw(st.sampled_from(["accounts"] * 3 + ["entries"] * 2 + ["events"]))
        writes = [
            _write(draw, story, resource, item) for item in range(draw(st.sampled_from([1, 1, 2])))
        ]
        status = draw(st.sampled_from([202] * 5 + [None, 503, 400]))
        pours = status == 202 or (status != 400 and draw(st.booleans()))
        has_place = has_places and (status == 202 or pours)
        key = f"k{story.now}" if draw(st.booleans()) else None
        number = story.send(*writes, status=status, key=key, pours=pours, place=has_place)
        if status == 202 and draw(st.booleans()):
            final = story.finals[f"r{number}"]
            story.read(number, final.state, final.rejections)
        if key and status in (None, 503) and draw(st.booleans()):
            if pours:
                story.send(*writes, request=number, key=key, pours=False, place=has_place)
                done = {each.after["token"] for each in story.effects if each.after}
                assume(all(write.token in done for write in writes))
                story.final(number, "applied")
            else:
                story.send(*writes, request=number, key=key, place=has_places)
    return story.history(is_ordered=has_places)


def _write(draw, story, resource, item):
    op = draw(st.sampled_from(_ADDING if resource == "events" else [*OPS]))
    key = [draw(st.integers(1, 2)) for _ in KEYS[resource]]
    values = {}
    if op != "delete":
        if draw(st.booleans()):
            values["a"] = draw(st.sampled_from([-1, None, 1, 2]))
        if resource != "events" and draw(st.booleans()):
            values["b"] = draw(st.integers(1, 2))
    return story.write(op, resource, *key, item=item, **values)


@given(histories())
def test_a_history_of_writes_in_their_order_is_right(history):
    assert check(history) == []


def without_an_effect(history):
    for place in range(len(history.effects)):
        left = [each for number, each in enumerate(history.effects) if number != place]
        yield replace(history, effects=left)


def with_an_effect_twice(history):
    last = history.effects[-1].number if history.effects else 0
    for effect in history.effects:
        again = effect._replace(number=last + 1, before=effect.after)
        yield replace(history, effects=[*history.effects, again])
        yield replace(history, effects=[*history.effects, again._replace(before=effect.before)])


def with_two_effects_of_a_row_swapped(history):
    for one, other in pairs(history.effects):
        if (one.resource, one.key) == (other.resource, other.key):
            numbers = {one.number: other.number, other.number: one.number}
            swapped = [
                each._replace(number=numbers.get(each.number, each.number))
                for each in history.effects
            ]
            yield replace(history, effects=swapped)


def with_another_value(history):
    """Everywhere where it shows."""
    for effect in history.effects:
        if effect.after:
            old, new = effect.after, {**effect.after, "a": 99}
            yield replace(
                history,
                effects=[
                    each._replace(
                        before=new if each.before == old else each.before,
                        after=new if each.after == old else each.after,
                    )
                    for each in history.effects
                ],
                rows={key: new if row == old else row for key, row in history.rows.items()},
            )


def with_another_row(history):
    for key, row in history.rows.items():
        yield replace(history, rows={**history.rows, key: {**row, "a": 99}})
        others = {other: each for other, each in history.rows.items() if other != key}
        yield replace(history, rows=others)


def with_a_row_of_nobody(history):
    yield replace(history, rows={**history.rows, ("accounts", "9"): {"id": 9, "token": "t"}})


def with_another_final_state(history):
    ops = {attempt.receipt: {each.op for each in attempt.writes} for attempt in history.attempts}
    for receipt, final in history.finals.items():
        states = ["pending", "expired"]
        if final.state == "applied":
            items = range(len(request_of(history, receipt).writes))
            conflicts = dict.fromkeys(items, "conflict")
            rejected = final._replace(state="rejected", rejections=conflicts)
            yield replace(history, finals={**history.finals, receipt: rejected})
        elif "delete" not in ops[receipt]:  # it may have made the effect of an unknown one
            states += ["applied"]
        for state in states:
            other = final._replace(state=state, rejections={})
            yield replace(history, finals={**history.finals, receipt: other})
        finals = {other: each for other, each in history.finals.items() if other != receipt}
        yield replace(history, finals=finals)


def with_another_reading(history):
    for place, reading in enumerate(history.readings):
        state, rejections = ("rejected", {0: "conflict"})
        if reading.state == "rejected":
            state, rejections = ("applied", {})
        other = changed(history.readings, place, state=state, rejections=rejections)
        yield replace(history, readings=other)


def with_a_forgotten_request(history):
    for request in requests_with_tokens(history):
        attempts = [each for each in history.attempts if each.request != request]
        yield replace(history, attempts=attempts)


def with_a_refused_request(history):
    for request in requests_with_tokens(history):
        attempts = [
            each._replace(status=422, answered_at=each.sent_at, receipt=None)
            if each.request == request
            else each
            for each in history.attempts
        ]
        yield replace(history, attempts=attempts)


def with_two_accepted_requests_swapped(history):
    """Two writes of a row whose effects are known."""
    attempts = [each for each in history.attempts if each.place and len(each.writes) == 1]
    for one, other in pairs(attempts):
        made, followed = one.writes[0], other.writes[0]
        if (
            made.resource != "events"
            and (made.resource, made.key) == (followed.resource, followed.key)
            and {one.request, other.request} <= requests_with_tokens(history)
            and one.request != other.request
        ):
            places = {one.request: other.place, other.request: one.place}
            swapped = [
                each._replace(place=places.get(each.request, each.place))
                for each in history.attempts
            ]
            yield replace(history, attempts=swapped)


def pairs(items):
    return [(one, other) for place, one in enumerate(items) for other in items[place + 1 :]]


def request_of(history, receipt):
    return next(each for each in history.attempts if each.receipt == receipt)


def requests_with_tokens(history):
    """Requests that have an effect with a token."""
    tokens = {each.after["token"] for each in history.effects if each.after}
    return {
        attempt.request
        for attempt in history.attempts
        if any(write.token in tokens for write in attempt.writes)
    }


CORRUPTIONS = (
    without_an_effect,
    with_an_effect_twice,
    with_two_effects_of_a_row_swapped,
    with_another_value,
    with_another_row,
    with_a_row_of_nobody,
    with_another_final_state,
    with_another_reading,
    with_a_forgotten_request,
    with_a_refused_request,
    with_two_accepted_requests_swapped,
)


def eventful():
    """A history that every corruption can corrupt."""
    story = Story()
    story.change("create", 1)
    story.change("merge", 1, a=1)
    story.change("create", 1)
    story.read(1, "applied")
    story.read(3, "rejected", {0: "conflict"})
    return story.history(is_ordered=True)


@given(histories())
@example(eventful())
@settings(max_examples=25)
def test_any_corruption_of_a_right_history_is_seen(history):
    for corrupt in CORRUPTIONS:
        for wrong in corrupt(history):
            assert kinds(wrong), corrupt.__name__


def test_an_eventful_history_is_corrupted_in_all_ways():
    assert not kinds(eventful())
    assert [corrupt.__name__ for corrupt in CORRUPTIONS if not [*corrupt(eventful())]] == []
