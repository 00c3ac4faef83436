"""A deployed stack under load, while its functions, queues and database sessions fail."""

from decanter.local.cloud import Cloud
from decanter.proof.load.injection import FAMILIES, Phases
from decanter.proof.load.run import run

SEED = 20
WRITES = 400


def test_load_with_faults_in_all_parts_breaks_no_promise(cloud: Cloud) -> None:
    phases = Phases(faulty_seconds=6, quiet_seconds=1)
    outcome = run(SEED, WRITES, cloud, clients=4, phases=phases)

    assert outcome.violations == ()
    assert outcome.left == 0
    assert outcome.writes >= WRITES
    assert outcome.accepted > 0
    assert outcome.effects > 0
    for family in FAMILIES:
        assert outcome.faults.keys() & {each.__name__.replace("_", " ") for each in family}
