"""A deployed stack under load, while its functions, queues and database sessions fail."""

from decanter.local.cloud import Cloud
from decanter.proof.load.injection import FAMILIES
from decanter.proof.load.run import SHORT, run

SEED = 232
WRITES = 150


def test_load_with_faults_in_all_parts_breaks_no_promise(cloud: Cloud) -> None:
    outcome = run(SEED, WRITES, cloud, SHORT)

    assert outcome.violations == ()
    assert outcome.left == 0
    assert outcome.writes >= WRITES
    assert outcome.accepted > 0
    assert outcome.effects > 0
    for family in FAMILIES:
        assert outcome.faults.keys() & {each.__name__.replace("_", " ") for each in family}
