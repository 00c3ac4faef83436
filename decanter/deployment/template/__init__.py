"""What CloudFormation needs beside the template that ``chalice package`` makes.

Chalice writes functions, triggers, routes and roles; it creates no queues, does not set
``FunctionResponseTypes``, and knows nothing of secrets. ``build`` makes the template that is
merged into Chalice's (dicts merge, lists and scalars replace):

    python -m decanter template --stage dev > build/merge.json
    chalice package --stage dev --merge-template build/merge.json build/dev
"""

from decanter.deployment.template.document import build, of_queues
from decanter.deployment.template.first_step import only_migrate
from decanter.deployment.template.queues import least_visibility
from decanter.deployment.template.queues import outputs as queue_outputs

__all__ = ["build", "least_visibility", "of_queues", "only_migrate", "queue_outputs"]
