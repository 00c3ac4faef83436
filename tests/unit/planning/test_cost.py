"""The bills of a month, checked against sums made by hand."""

import json
from dataclasses import replace

import pytest

from chalicelib.settings import AUDIT_MINUTES
from decanter.deployment import template
from decanter.planning import cost
from decanter.planning.cost import Bill, Line, Month
from decanter.planning.price_list import PriceList, load
from tests.kit.planned_day import CONTAINERS, ORDERED, OUTCOME, PROFILE, STAGE, TIMES

MONTH = Month(STAGE, PROFILE, OUTCOME, TIMES, CONTAINERS, load("us-east-1"))
DAYS = 730 / 24


def lines(month: Month, way: int = 0) -> dict[str, Line]:
    found = cost.bills(month)[way].lines
    assert len({each.item for each in found}) == len(found)
    return {each.item: each for each in found}


def test_each_request_is_one_of_api_gateway_and_one_of_the_api_function() -> None:
    found = lines(MONTH)

    assert found["API Gateway"].quantity == pytest.approx(400_000 * DAYS)
    assert found["API Gateway"].usd == pytest.approx(400_000 * DAYS * 3.5 / 1e6)
    assert found["api: invocations"].usd == pytest.approx(400_000 * DAYS * 0.2 / 1e6)


def test_the_api_function_is_billed_for_its_work_and_for_its_calls_in_whole_milliseconds() -> None:
    # 3.1 million rows of 400,000 requests: 6.75 further rows each, at 10 µs; 1,024 MB are 0.579 of
    # a processor; one call of 10 ms each.
    own = (0.0008 + 6.75 * 0.00001) * 1_769 / 1_024
    assert 0.011 < own + 0.010 < 0.012

    assert lines(MONTH)["api: compute"].quantity == pytest.approx(400_000 * DAYS * 0.012)


def test_a_queue_is_asked_to_send_receive_and_delete() -> None:
    found = lines(MONTH)

    quantities = {item: found[f"SQS ordered: {item}"].quantity for item in
                  ("send", "receive", "delete")}  # fmt: skip
    assert quantities == {
        "send": pytest.approx(100_000 * DAYS),
        "receive": pytest.approx(50_000 * DAYS),
        "delete": pytest.approx(50_000 * DAYS),
    }
    assert found["SQS ordered: send"].usd == pytest.approx(100_000 * DAYS * 0.5 / 1e6)
    assert found["SQS unordered: send"].usd == pytest.approx(300_000 * DAYS * 0.4 / 1e6)


def test_each_64_kb_of_a_call_count_as_a_request_but_not_when_messages_are_deleted() -> None:
    large = replace(ORDERED, bytes=100_000 * 65_537.0)
    month = replace(MONTH, outcome=replace(OUTCOME, buffers=(large, *OUTCOME.buffers[1:])))

    found = lines(month)

    assert found["SQS ordered: send"].quantity == pytest.approx(2 * 100_000 * DAYS)
    assert found["SQS ordered: receive"].quantity == pytest.approx(3 * 50_000 * DAYS)
    assert found["SQS ordered: delete"].quantity == pytest.approx(50_000 * DAYS)


def test_a_drain_is_billed_for_all_seconds_that_its_containers_are_busy() -> None:
    found = lines(MONTH)

    busy = 500 * DAYS + 0.0005 * 50_000 * DAYS
    assert found["drain_ordered: compute"].quantity == pytest.approx(busy / 2)
    assert found["drain_ordered: invocations"].quantity == pytest.approx(50_000 * DAYS)


def test_arm_processors_have_their_own_price() -> None:
    configuration = {**STAGE.configuration, "lambda_architecture": "arm64"}
    on_arm = replace(MONTH, stage=replace(STAGE, configuration=configuration))

    cheaper = lines(on_arm)["drain_ordered: compute"].usd
    assert cheaper == pytest.approx(lines(MONTH)["drain_ordered: compute"].usd, rel=0.25)
    assert cheaper == pytest.approx(lines(on_arm)["drain_ordered: compute"].quantity * 13.3334e-6)


def test_schedules_invoke_the_functions_of_the_stage_that_have_one() -> None:
    minutes = 730 * 60
    plain = lines(MONTH)["schedules: invocations"].quantity
    fronted = replace(MONTH, stage=replace(STAGE, fronts={"stations": "dynamodb"}))

    assert plain == pytest.approx(minutes * (1 + 1 / AUDIT_MINUTES + 1 / 60))
    assert lines(fronted)["schedules: invocations"].quantity == pytest.approx(plain + minutes)


def test_publish_works_for_nearly_all_of_each_minute() -> None:
    topic = "arn:aws:sns:us-east-1:123456789012:t"
    with_events = replace(MONTH, stage=STAGE.with_events(topic))

    assert "publish: compute" not in lines(MONTH)
    assert lines(with_events)["publish: compute"].quantity == pytest.approx(
        50 * 730 * 60 * 128 / 1_024
    )


def test_alarms_metrics_and_secrets_are_those_of_the_stage() -> None:
    found = lines(MONTH)
    resources = template.document.build(STAGE)["Resources"]
    alarms = [each for each in resources.values() if each.get("Type") == "AWS::CloudWatch::Alarm"]
    single = [each for each in alarms if "MetricName" in each["Properties"]]
    text = json.dumps(alarms)

    assert found["alarms"].quantity == len(single) + text.count('"MetricStat"') > 20
    assert found["metrics"].quantity == len(
        {name for name in text.split('"') if name and f'"MetricName": "{name}"' in json.dumps(
            [e for e in resources.values() if e.get("Type") == "AWS::Logs::MetricFilter"])}
    )  # fmt: skip
    assert found["secrets"].quantity == 5


def test_logs_are_our_lines_and_those_of_lambda() -> None:
    of_api, of_drains = 400_000 * (130 + 370), 130_000 * (120 + 370)

    assert lines(MONTH)["logs: written"].quantity == pytest.approx(
        (of_api + of_drains) * DAYS / 1e9
    )


def test_the_first_invocation_of_each_second_is_traced_and_a_twentieth_of_the_others() -> None:
    seconds = 730 * 3_600
    of_api = seconds + 0.05 * (400_000 * DAYS - seconds)
    of_drains = 50_000 * DAYS + 80_000 * DAYS  # fewer than one a second

    assert lines(MONTH)["traces"].quantity == pytest.approx(of_api + of_drains)


def test_direct_writes_pay_the_proxy_for_at_least_two_processors() -> None:
    assert lines(MONTH, 1)["RDS Proxy"].usd == pytest.approx(730 * 2 * 0.015)
    assert lines(replace(MONTH, database_cpus=8), 1)["RDS Proxy"].quantity == 730 * 8
    assert lines(replace(MONTH, database_cpus=1), 1)["RDS Proxy"].quantity == 730 * 2


def test_direct_writes_have_neither_queues_nor_drains() -> None:
    names = " ".join(lines(MONTH, 1))

    assert "SQS" not in names
    assert "drain" not in names
    # The network comes on top: a create is one round trip, and a merge, an eighth of all, is two.
    far = replace(MONTH, profile=replace(PROFILE, round_trip_seconds=0.02))
    more = lines(far, 1)["api: compute"].quantity - lines(MONTH, 1)["api: compute"].quantity
    assert more == pytest.approx(0.02 * 1.125 * 400_000 * DAYS, rel=0.05)


@pytest.mark.parametrize(
    ("row_bytes", "is_transaction", "units"),
    [(330, False, 1), (337, False, 1), (338, False, 2), (1_000, False, 3), (330, True, 2)],
)
def test_an_item_takes_a_write_unit_for_each_kb_of_its_row_twice(
    row_bytes: int, is_transaction: bool, units: int
) -> None:
    assert cost.write_units(row_bytes, is_transaction) == units


def test_in_front_each_row_is_an_item_and_each_merge_reads_one() -> None:
    found = lines(MONTH, 2)

    # A row of 200 or 150 bytes takes one unit; ten rows are a transaction, at two each.
    assert found["DynamoDB: writes"].quantity == pytest.approx((100_000 + 300_000 * 10 * 2) * DAYS)
    assert found["DynamoDB: reads"].quantity == pytest.approx(100_000 / 2 * DAYS)
    assert "SQS ordered: send" not in found


def test_a_buffer_in_front_is_paid_by_its_items() -> None:
    stream = replace(ORDERED, name="stream", function="drain_stream", receives=0.0)
    stations = replace(OUTCOME.resources[0], buffer="stream")
    outcome = replace(OUTCOME, buffers=(stream,), resources=(stations,))

    profile = replace(PROFILE, resources=PROFILE.resources[:1])
    found = lines(replace(MONTH, outcome=outcome, profile=profile))

    assert found["DynamoDB: writes"].quantity == pytest.approx(100_000 * DAYS)
    assert found["DynamoDB: reads"].quantity == pytest.approx(50_000 * DAYS)
    assert not any(item.startswith("SQS") for item in found)


def test_a_line_without_a_price_is_named_and_not_in_the_sum() -> None:
    prices = {name: each for name, each in MONTH.prices.prices.items() if name != "rds_proxy"}
    without = replace(MONTH, prices=PriceList("here", prices))

    direct = cost.bills(without)[1]

    assert direct.unpriced == ["RDS Proxy"]
    assert direct.usd == pytest.approx(cost.bills(MONTH)[1].usd - 21.9)
    assert "no price" in "\n".join(cost.table([direct]))


def test_a_table_has_each_line_and_the_sum() -> None:
    bill = Bill("a way", (Line("one", 1_234.5, "pieces", 1.0), Line("other", 1.0, "GB", 2.345)))

    text = cost.table([bill])

    assert text[0] == "a way:"
    assert text[1].split() == ["one", "1,234", "pieces", "1.00"]
    assert text[-1].split() == ["sum,", "USD", "a", "month", "3.35"]


def test_the_document_has_each_line_of_each_way() -> None:
    found = json.loads(json.dumps(cost.document(cost.bills(MONTH))))

    assert [each["way"] for each in found] == [each.way for each in cost.bills(MONTH)]
    for each in found:
        assert each["usd"] == pytest.approx(sum(line["usd"] for line in each["lines"]))
