"""A mutant: Decanter with one mistake that an engineer could make."""

from typing import NamedTuple

from decanter.proof.mutants import edits
from decanter.proof.mutants.edits import Edit


class Mutant(NamedTuple):
    """broken: what is wrong, in one sentence. edits: the mistake. engine: on which it shows."""

    name: str
    broken: str
    edits: tuple[Edit, ...]
    engine: str = "postgres"

    def apply(self) -> None:
        """Make the mistake in this process. Raises NoSuchText."""
        edits.apply(self.edits)
