"""The costs in the documents are what their prices and quantities make."""

import re
from decimal import ROUND_HALF_UP, Decimal

from tests.kit.project import PROJECT

TEXT = (PROJECT / "docs/performance.md").read_text(encoding="utf-8").split("\n## Cost\n")[1]
CENT = Decimal("0.01")


def rows_of(heading: str) -> list[list[str]]:
    """The cells of the table that begins so."""
    table = TEXT.split(f"| {heading} |")[1].split("\n\n")[0]
    return [
        [cell.strip() for cell in line.strip("| ").split(" | ")] for line in table.split("\n")[2:]
    ]


PRICES = {unit: Decimal(price) for unit, price, _ in rows_of("unit")}
MILLIONS = {
    "SQS requests": "million SQS requests (FIFO)",
    "Lambda requests": "million Lambda requests",
    "GB-seconds": "million GB-seconds (x86)",
    "write units": "million DynamoDB write units",
    "read units": "million DynamoDB read units",
}


def test_a_cost_is_the_sum_of_its_quantities_at_their_prices() -> None:
    costs = rows_of("a million rows")
    assert len(costs) > 10
    for name, *quantities, total in costs:
        used = [Decimal(each.replace(",", "")) / 1_000_000 for each in quantities]
        parts = [
            number * PRICES[unit] for number, unit in zip(used, MILLIONS.values(), strict=True)
        ]

        assert sum(parts).quantize(CENT, ROUND_HALF_UP) == Decimal(total), name


def test_the_columns_of_costs_are_the_units_that_are_summed() -> None:
    header = re.search(r"^\| a million rows \| (.*) \| USD \|$", TEXT, re.M)

    assert header is not None
    assert header[1].split(" | ") == [*MILLIONS]


def test_storage_is_the_table_and_its_recovery() -> None:
    table, recovery = (
        PRICES[f"GB-month of {each}"] for each in ("a table", "point-in-time recovery")
    )

    assert f"are 1 GB, which is {table + recovery} a month" in TEXT
