"""A deployed stack under load on the rules of Aurora DSQL: migrated by its own function, with the
database's roles and tokens, while statements are refused as conflicts and connections are cut."""

from decanter.local.cloud import Cloud
from decanter.proof.load.injection import ON_DSQL, Phases
from decanter.proof.load.run import Workload, run

SEED = 412
WRITES = 100
WORKLOAD = Workload(4, 6, Phases(faulty_seconds=6, quiet_seconds=0.5))


def test_load_on_the_rules_of_dsql_breaks_no_promise(cloud: Cloud) -> None:
    outcome = run(SEED, WRITES, cloud, WORKLOAD, engine="dsql")

    assert outcome.violations == ()
    assert outcome.left == 0
    assert outcome.writes >= WRITES
    assert outcome.accepted > 0
    assert outcome.effects > 0
    # Connections have the name of their function, and the rights of its role.
    assert {kind for kind, (most, _) in outcome.connections.items() if most} >= {"drain", "reader"}
    # Each kind of statement was refused, and whoever sent it has done it again.
    assert {*outcome.conflicts} == {"migrate", "drain", "reader", "sweep"}
    assert all(0 < each["kinds"] == each["struck"] for each in outcome.conflicts.values())
    # The faults of the other families are those of any load, see `test_load`.
    assert outcome.faults.keys() & {each.__name__.replace("_", " ") for each in ON_DSQL[-1]}
