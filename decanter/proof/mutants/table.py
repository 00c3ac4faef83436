"""All mutants. Each has to be caught by random histories, or the proof has a hole."""

from collections.abc import Mapping
from types import MappingProxyType

from decanter.proof.mutants.accepting import ACCEPTING
from decanter.proof.mutants.fronting import FRONTING
from decanter.proof.mutants.mutant import Mutant
from decanter.proof.mutants.pouring import POURING
from decanter.proof.mutants.refusing import REFUSING
from decanter.proof.mutants.settling import SETTLING
from decanter.proof.mutants.waiting import WAITING

MUTANTS: Mapping[str, Mutant] = MappingProxyType(
    {each.name: each for each in (*ACCEPTING, *FRONTING, *POURING, *REFUSING, *SETTLING, *WAITING)}
)
"""By name."""
