"""Messages become waves of sets; a set never holds a key twice."""

import json

from hypothesis import given
from hypothesis import strategies as st

from chalicelib.drain.sets import separate_rows, single_rows, waves
from chalicelib.messages.message import Condition, Message, RowSet
from chalicelib.ops import OPS

REPEATED = ("create", "create-or-ignore")  # of which the first row of a key decides
RANKS = {"parents": 0, "children": 1}


def message(
    number: int,
    resource: str,
    op: str,
    *sets: tuple[int, ...],
    condition: Condition | None = None,
) -> Message:
    return Message(
        dedup_id=f"01890000-0000-7000-8000-{number:012x}",
        fingerprint="f" * 32,
        accepted_at=1,
        resource=resource,
        op=op,  # type: ignore[arg-type]
        sets=tuple(
            RowSet(("k",), tuple(range(len(keys))), keys, ",".join(f'{{"k":{k}}}' for k in keys))
            for keys in sets
        ),
        condition=condition,
    )


messages = st.lists(
    st.tuples(
        st.sampled_from(["parents", "children"]),
        st.sampled_from([*OPS]),
        st.lists(st.sets(st.integers(0, 6), min_size=1, max_size=3), min_size=1, max_size=3),
        st.sampled_from([None, Condition(("*",), None), Condition(None, ("*",))]),
    ),
    min_size=1,
    max_size=12,
)


@given(messages)
def test_each_key_keeps_the_order_of_its_messages_and_no_set_has_it_twice(given):
    sent = [
        message(n, resource, op, *(tuple(sorted(keys)) for keys in sets), condition=condition)
        for n, (resource, op, sets, condition) in enumerate(given)
    ]

    poured = waves(sent, RANKS)

    seen: dict[int, list[tuple[str, int]]] = {}
    for wave in poured:
        in_wave: set[int] = set()
        for each in wave:
            assert len({(m.resource, m.op, m.condition is None) for m, _ in each.parts}) == 1
            for owner, part in each.parts:
                assert owner.op in REPEATED or in_wave.isdisjoint(part.digests)
                in_wave.update(part.digests)
                place = [p is part for p in owner.sets].index(True)
                for digest in part.digests:
                    seen.setdefault(digest, []).append((owner.dedup_id, place))
    assert all(order == sorted(order) for order in seen.values())
    assert sum(map(len, seen.values())) == sum(len(p.digests) for m in sent for p in m.sets)


def test_messages_on_different_keys_make_one_wave_and_one_set():
    ((only,),) = waves([message(n, "parents", "create", (n,)) for n in range(10)], RANKS)

    assert only.count == 10
    assert json.loads(only.rows) == [{"k": n} for n in range(10)]


def test_parents_come_before_children_and_deletes_last_and_the_other_way_round():
    sent = [
        message(0, "parents", "delete", (1,)),
        message(1, "children", "delete", (2,)),
        message(2, "children", "create", (3,)),
        message(3, "parents", "create", (4,)),
    ]

    (wave,) = waves(sent, RANKS)

    assert [(each.resource, each.op) for each in wave] == [
        ("parents", "create"),
        ("children", "create"),
        ("children", "delete"),
        ("parents", "delete"),
    ]


def test_rows_with_conditions_have_sets_of_their_own():
    sent = [
        message(n, "parents", "merge", (n,), condition=Condition(("*",), None) if n % 2 else None)
        for n in range(6)
    ]

    ((free, conditional),) = waves(sent, RANKS)

    assert [owner.dedup_id[-1] for owner, _ in free.parts] == ["0", "2", "4"]
    assert [owner.dedup_id[-1] for owner, _ in conditional.parts] == ["1", "3", "5"]
    assert (free.conditions, conditional.conditions) == ([], [Condition(("*",), None)] * 3)


def test_a_conditional_set_is_left_without_the_rows_that_do_not_meet_their_conditions():
    conditions = [Condition((str(n),), None) for n in range(4)]
    sent = [message(n, "parents", "merge", (n,), condition=conditions[n]) for n in range(4)]
    ((only,),) = waves(sent, RANKS)
    apart = single_rows(only)

    left = only.without([apart[0], apart[2]])

    assert json.loads(left.rows) == [{"k": 1}, {"k": 3}]
    assert left.conditions == [conditions[1], conditions[3]]
    assert (left.resource, left.op, left.members) == (only.resource, only.op, only.members)
    assert only.without(apart).parts == ()
    assert only.without(apart).conditions == []


def test_messages_without_digests_share_a_wave():
    sent = [message(n, "parents", "create", (n,)) for n in range(3)]
    sent = [each._replace(sets=(each.sets[0]._replace(digests=()),)) for each in sent]

    assert len(waves(sent, RANKS)) == 1


def test_a_set_is_taken_apart_into_the_texts_of_its_rows():
    rows = '{"a":"},{","b":[1, {}]} ,{"a": 1.50}'.replace(" ,", ",")
    sent = message(0, "parents", "create", (1, 2))
    sent = sent._replace(sets=(sent.sets[0]._replace(text=rows),))
    ((only,),) = waves([sent], RANKS)

    apart, broken = separate_rows(only)

    assert [(row.item, row.text) for row in apart] == [
        (0, '{"a":"},{","b":[1, {}]}'),
        (1, '{"a": 1.50}'),
    ]
    assert broken == []


def test_parts_that_are_not_what_their_header_says_are_separated_from_their_neighbours():
    sent = []
    for number, rows in enumerate(
        ['{"k":0},{"k":1}', "{nope}", '{"k":NaN}', "{" * 5_000, '{"k":0}, {"k":1}', '{"k":5}']
    ):
        each = message(number, "parents", "create", (number,))
        sent.append(each._replace(sets=(each.sets[0]._replace(text=rows),)))
    ((only,),) = waves(sent, RANKS)

    apart, broken = separate_rows(only)

    assert [row.text for row in apart] == ['{"k":5}']
    assert [(owner.dedup_id, item) for owner, item in broken] == [
        (each.dedup_id, 0) for each in sent[:5]
    ]
