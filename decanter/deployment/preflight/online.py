"""All checks of one deployment, by CloudFormation or by ``chalice deploy``."""

from decanter.deployment import budget, cloudformation, fronts, functions, invocation
from decanter.deployment.aws import Aws
from decanter.deployment.findings import DeploymentError, Finding
from decanter.deployment.plan import DeploymentPlan
from decanter.deployment.preflight import events, front
from decanter.deployment.preflight.caps import caps, concurrency
from decanter.deployment.preflight.parameters import parameters, secret_values
from decanter.deployment.preflight.queues import existing, taken, visibility
from decanter.deployment.references import Json
from decanter.deployment.stage import CONFIG_FILE

_STUCK = ("UPDATE_ROLLBACK_FAILED", "DELETE_FAILED", "IMPORT_ROLLBACK_FAILED")


def online(aws: Aws, plan: DeploymentPlan) -> list[Finding]:
    """Check the caps; then what AWS knows: credentials, the stack, parameters, secrets, quotas,
    queues, and the database."""
    document = plan.package.template
    if findings := [*caps(document)]:
        return findings
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        aws("sts").get_caller_identity()
    except (BotoCoreError, ClientError) as error:
        text = f"AWS accepts no credentials from here: {error} Log in, or assume a role."
        return [Finding("credentials", text)]
    stack = cloudformation.describe(aws, plan.name)
    if stack.status in _STUCK:
        cure = f"aws cloudformation continue-update-rollback --stack-name {plan.name}"
        text = f"the stack {plan.name} is {stack.status}: see its events, then run `{cure}`."
        return [Finding("stack-stuck", text)]
    values, outputs = plan.values(stack), stack.outputs
    findings = [*parameters(plan, values)]
    if not findings:
        findings += visibility(document, int(values["VisibilityTimeout"] or 0))
        findings += secret_values(aws, values)
    deployed = [outputs[each.output] for each in functions.FUNCTIONS if each.output in outputs]
    findings += concurrency(aws, document, deployed)
    findings += events.destination(aws, document)
    if functions.ORDERED.url_output not in outputs:
        findings += taken(aws, plan.name)
    if functions.FRONT_TABLE_OUTPUT not in outputs:
        findings += front.taken(aws, document)
    if function := outputs.get(functions.function("migrate").output):
        try:
            granted = invocation.invoke(aws, function, {"budget": True})
            findings += budget.findings(plan.holders, granted)
        except DeploymentError as error:
            text = (
                f"{error} If the database cannot be reached, see the URL in the secret, and the"
                f" functions' subnets and security groups in {CONFIG_FILE}."
            )
            findings.append(Finding("database", text))
    return [*findings, *front.moves(aws, document, fronts.of_stack(aws, outputs))]


def plain(aws: Aws, document: Json, prefix: str, application: str) -> list[Finding]:
    """Check the caps; then the quotas, and the queues, front table, topic and bus that functions
    of ``chalice deploy`` need; and what is deployed already.

    document: the packaged template. application: prefix of the functions' names.
    """
    if findings := [*caps(document)]:
        return findings
    names = [each.deployed_name(application) for each in functions.FUNCTIONS]
    needed = [
        *existing(aws, document, prefix),
        *front.existing(aws, document),
        *events.destination(aws, document),
    ]
    outputs = cloudformation.describe(aws, f"{prefix}-queues").outputs
    moves = front.moves(aws, document, fronts.of_chalice(aws, application, outputs))
    return [*concurrency(aws, document, names), *needed, *moves]
