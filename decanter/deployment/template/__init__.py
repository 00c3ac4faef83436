"""The CloudFormation template of a stage, as far as ``chalice package`` does not make it.

Chalice writes functions, triggers, routes and roles, but no queues, ``FunctionResponseTypes`` or
secrets. ``build`` makes the template that is merged into Chalice's (dicts merge, lists and scalars
replace):

    python -m decanter template --stage dev > build/merge.json
    chalice package --stage dev --merge-template build/merge.json build/dev
"""

from decanter.deployment.template.document import build, of_queues
from decanter.deployment.template.first_step import only_migrate

__all__ = ["build", "of_queues", "only_migrate"]
