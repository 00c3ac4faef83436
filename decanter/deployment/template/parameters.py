"""Parameters of the template that are neither the queues' nor the alarms'."""

from decanter.deployment import functions
from decanter.deployment.references import Json, is_given
from decanter.deployment.stage import Stage

LOG_RETENTION_DAYS = 30


def conditions() -> Json:
    """Which secrets are given."""
    names = map(functions.secret_parameter, functions.roles())
    return {
        "OwnReceiptKey": {"Fn::Equals": [{"Ref": "ReceiptKeySecret"}, ""]},
        **{f"Has{name}": is_given(name) for name in names},
    }


def parameters(stage: Stage) -> Json:
    """All of them."""
    return {
        "DatabaseUrlSecret": {
            "Type": "String",
            "Default": f"{stage.prefix}/database-url",
            "Description": (
                "Name or ARN of the Secrets Manager secret that holds the libpq URL of the "
                "database's owner; it must exist before the stack does. It is for migrations."
            ),
        },
        **{
            functions.secret_parameter(role): {
                "Type": "String",
                "Default": f"{stage.prefix}/{role}-url",
                "Description": (
                    f"Name or ARN of the secret that holds the libpq URL of the {role}'s role; "
                    f"empty: it has no role of its own and uses the owner's URL."
                ),
            }
            for role in functions.roles()
        },
        "SecretsVersion": {
            "Type": "String",
            "Default": "",
            "Description": (
                "Changes when a secret does: CloudFormation reads secrets of what it updates only."
            ),
        },
        "ReceiptKeySecret": {
            "Type": "String",
            "Default": "",
            "Description": (
                "Name or ARN of a secret with the keys of receipts, separated by spaces: the first "
                "signs, all verify. Empty: the stack makes its own. Stacks that share it know each "
                "other's receipts."
            ),
        },
        "LogRetentionDays": {
            "Type": "Number",
            "Default": LOG_RETENTION_DAYS,
            "AllowedValues": [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1827],
            "Description": "How many days logs are kept.",
        },
        **(_DATABASE_RESOURCE if stage.tokens else {}),
        **(_of_tokens(stage) if stage.authentication == "jwt" else {}),
    }


_DATABASE_RESOURCE = {
    "DatabaseResource": {
        "Type": "String",
        "AllowedPattern": "^(db|cluster|prx)-[A-Za-z0-9]+$",
        "ConstraintDescription": "the resource ID of an RDS instance, cluster or proxy",
        "Description": "Resource ID of the database, such as db-ABC; its tokens are asked for.",
    }
}


def _of_tokens(stage: Stage) -> Json:
    """Whose tokens callers have."""
    secure = r"https://[^\s]+|http://(127\.0\.0\.1|localhost)([:/][^\s]*)?"
    return {
        "JwtIssuer": {
            "Type": "String",
            "AllowedPattern": f"^({secure})$",
            "ConstraintDescription": "an https URL (http on loopback only)",
            "Description": "The OIDC issuer of the tokens: their claim iss, to the letter.",
            **_default(stage.issuer),
        },
        "JwtAudience": {
            "Type": "String",
            "MinLength": 1,
            "Description": "What the claim aud of a token must be or contain: this API.",
            **_default(stage.audience),
        },
        "JwtJwksUrl": {
            "Type": "String",
            "AllowedPattern": f"^({secure})?$",
            "ConstraintDescription": "an https URL (http on loopback only), or nothing",
            "Description": (
                "Where the issuer's keys are; empty: where its /.well-known/openid-configuration "
                "says."
            ),
            "Default": stage.jwks_url or "",
        },
    }


def _default(value: str | None) -> Json:
    return {} if value is None else {"Default": value}
