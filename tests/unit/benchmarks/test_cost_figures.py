"""The costs in the documents are what the prices and their quantities make."""

import re
from decimal import ROUND_HALF_UP, Decimal

from decanter.planning.price_list import load
from tests.kit.project import PROJECT

TEXT = (PROJECT / "docs/performance.md").read_text(encoding="utf-8").split("\n## Cost\n")[1]
CENT = Decimal("0.01")

PRICES = {name: Decimal(str(each.usd)) for name, each in load("us-east-1").prices.items()}
MILLIONS = {
    "SQS requests": "sqs_fifo",
    "Lambda requests": "lambda_requests",
    "GB-seconds": "lambda_x86_64",
    "write units": "dynamodb_writes",
    "read units": "dynamodb_reads",
}


def rows_of(heading: str) -> list[list[str]]:
    """The cells of the table that begins so."""
    table = TEXT.split(f"| {heading} |")[1].split("\n\n")[0]
    return [
        [cell.strip() for cell in line.strip("| ").split(" | ")] for line in table.split("\n")[2:]
    ]


def test_a_cost_is_the_sum_of_its_quantities_at_their_prices() -> None:
    costs = rows_of("a million rows")
    assert len(costs) > 10
    for name, *quantities, total in costs:
        used = [Decimal(each.replace(",", "")) / 1_000_000 for each in quantities]
        parts = [
            number * PRICES[price] for number, price in zip(used, MILLIONS.values(), strict=True)
        ]

        assert sum(parts).quantize(CENT, ROUND_HALF_UP) == Decimal(total), name


def test_the_columns_of_costs_are_the_units_that_are_summed() -> None:
    header = re.search(r"^\| a million rows \| (.*) \| USD \|$", TEXT, re.M)

    assert header is not None
    assert header[1].split(" | ") == [*MILLIONS]


def test_storage_is_the_table_and_its_recovery() -> None:
    kept = PRICES["dynamodb_kept"] + PRICES["dynamodb_recovery"]

    assert f"are 1 GB, which is {kept.quantize(CENT)} a month" in TEXT
