"""What AWS charges in a region: the price files in ``prices/``."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from decanter.planning import documents
from decanter.planning.documents import PlanningError

FOLDER = Path(__file__).with_name("prices")

_USD: Mapping[str, Any] = {"type": "number", "minimum": 0, "description": "US dollars, from 0"}
_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "required": ["region", "prices"],
    "properties": {
        "prices": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "required": ["usd", "per", "unit", "source", "read"],
                "additionalProperties": False,
                "properties": {
                    "usd": _USD,
                    "per": {"exclusiveMinimum": 0, "description": "a number of units above 0"},
                    "unit": {"type": "string", "description": "the unit's name"},
                    "above": {
                        "type": "array",
                        "items": {
                            "type": "array",
                            "minItems": 2,
                            "maxItems": 2,
                            "items": {"type": "number", "minimum": 0},
                            "description": "units a month, and the US dollars beyond them",
                        },
                    },
                    "source": {"type": "string", "pattern": "^https://"},
                    "read": {"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"},
                    "note": {"type": "string"},
                },
            },
        }
    },
}


class Price(NamedTuple):
    """One price.

    usd: for `per` units. above: what as many units cost beyond so many a month, in order. source:
    the page that it was read at. read: when.
    """

    usd: float
    per: float
    unit: str
    source: str
    read: str
    above: tuple[tuple[float, float], ...] = ()
    note: str = ""

    def of(self, quantity: float) -> float:
        """US dollars of so many units in a month."""
        floors = [0.0, *(floor for floor, _ in self.above)]
        ceilings = [*floors[1:], float("inf")]
        prices = [self.usd, *(usd for _, usd in self.above)]
        return sum(
            max(0.0, min(quantity, ceiling) - floor) * usd / self.per
            for floor, ceiling, usd in zip(floors, ceilings, prices, strict=True)
        )


@dataclass(frozen=True)
class PriceList:
    """The prices of a region, by name."""

    region: str
    prices: Mapping[str, Price]

    def get(self, name: str) -> Price | None:
        """The price of that name; None: the file of the region has none."""
        return self.prices.get(name)


def regions() -> list[str]:
    """The regions that have a price file."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def load(region: str) -> PriceList:
    """The prices of a region. Raises PlanningError for one without a file."""
    if region not in regions():
        raise PlanningError(
            f"region: there are no prices for {region!r}, only for {', '.join(regions())}. Name one"
            f" of these, or add decanter/planning/prices/{region}.json."
        )
    path = FOLDER / f"{region}.json"
    found = documents.read(path)
    documents.check(found, _SCHEMA, path.name)
    prices = {
        name: Price(
            each["usd"],
            each["per"],
            each["unit"],
            each["source"],
            each["read"],
            tuple((floor, usd) for floor, usd in each.get("above", [])),
            each.get("note", ""),
        )
        for name, each in found["prices"].items()
    }
    return PriceList(region, prices)
