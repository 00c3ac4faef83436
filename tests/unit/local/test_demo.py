"""The demo sends rows of the sample's tables only to a project that has them."""

import copy

from decanter.contract import committed
from decanter.local.demo import airports, subscription


def test_the_sample_is_known_by_its_rows():
    contract = committed()

    assert airports.match(contract)
    assert subscription.match(contract)


def test_a_table_of_the_same_name_is_not_the_samples():
    queued, other = committed(), committed()
    del queued["x-decanter"]["resources"]["subscriptions"]["front"]
    del other["components"]["schemas"]["subscriptions.create"]["properties"]["wind_above_kt"]
    none = copy.deepcopy(other)
    del none["x-decanter"]["resources"]["subscriptions"]
    del none["components"]["schemas"]["subscriptions.create"]

    assert not any(map(subscription.match, (queued, other, none)))


def test_nothing_is_sent_to_a_closed_resource():
    closed = committed()
    described = closed["x-decanter"]["resources"]
    described["subscriptions"]["front"]["closed"] = True
    described["stations"]["front"] = {"closed": True}

    assert not airports.match(closed)
    assert not subscription.match(closed)
