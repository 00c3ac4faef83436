"""The line through measured times: a fixed part, and one for each message, row and byte."""

from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import NamedTuple


class Point(NamedTuple):
    """One batch, and the seconds that it took. bytes_: of its messages' bodies."""

    messages: int
    rows: int
    bytes_: int
    seconds: float

    @property
    def terms(self) -> tuple[float, ...]:
        """What the parts of a fit are multiplied by."""
        return (1.0, self.messages, self.rows, self.bytes_)


class Fit(NamedTuple):
    """Seconds of a batch: `fixed`, and so many for each message, row and byte. None is negative."""

    fixed: float
    message: float
    row: float
    byte: float

    def seconds(self, point: Point) -> float:
        """What the batch takes by this fit."""
        return _product(self, point.terms)

    def errors(self, points: Iterable[Point]) -> list[float]:
        """By how much of the measured time the fit is wrong, for each batch."""
        return [abs(self.seconds(point) / point.seconds - 1) for point in points]


def fit(points: Sequence[Point], without_bytes: bool = False) -> Fit:
    """Return the fit with the least sum of squared relative errors.

    Parts that the points do not tell apart, as rows from messages of one row, are given to one of
    them. without_bytes: bytes count for nothing. Raises ValueError without points.
    """
    if not points:
        raise ValueError("there is nothing to fit: no batch was measured")
    scales = [max(column) or 1.0 for column in zip(*(each.terms for each in points), strict=True)]
    lines = [
        [term / scale / point.seconds for term, scale in zip(point.terms, scales, strict=True)]
        for point in points
    ]
    parts = range(len(scales) - without_bytes)
    # Four parts have fifteen subsets: the best without a negative part is among their solutions.
    subsets = [some for size in parts for some in combinations(parts, size + 1)]
    found = [solution for some in subsets if (solution := _least_squares(lines, some)) is not None]
    best = min(found, key=lambda solution: _squares(lines, solution))
    return Fit(*(part / scale for part, scale in zip(best, scales, strict=True)))


def _least_squares(lines: Sequence[Sequence[float]], some: tuple[int, ...]) -> list[float] | None:
    """The factors of some columns by which each line sums up to 1 as nearly as can be, and 0 for
    the others; None if one is negative, or they are not told apart."""
    matrix = [
        [sum(line[a] * line[b] for line in lines) for b in some] + [sum(line[a] for line in lines)]
        for a in some
    ]
    solved = _solution(matrix)
    if solved is None or min(solved) < 0:
        return None
    whole = [0.0] * len(lines[0])
    for column, factor in zip(some, solved, strict=True):
        whole[column] = factor
    return whole


def _solution(matrix: list[list[float]]) -> list[float] | None:
    """Solve equations by elimination, each with its right-hand side as its last number; None if
    they have no single solution."""
    size = len(matrix)
    largest = max(abs(number) for row in matrix for number in row[:-1])
    for at in range(size):
        pivot = max(range(at, size), key=lambda row: abs(matrix[row][at]))
        if abs(matrix[pivot][at]) <= 1e-9 * largest:
            return None
        matrix[at], matrix[pivot] = matrix[pivot], matrix[at]
        for row in range(size):
            if row != at:
                factor = matrix[row][at] / matrix[at][at]
                matrix[row] = [
                    number - factor * above
                    for number, above in zip(matrix[row], matrix[at], strict=True)
                ]
    return [matrix[at][-1] / matrix[at][at] for at in range(size)]


def _squares(lines: Sequence[Sequence[float]], factors: Sequence[float]) -> float:
    return sum((_product(line, factors) - 1) ** 2 for line in lines)


def _product(one: Sequence[float], other: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))
