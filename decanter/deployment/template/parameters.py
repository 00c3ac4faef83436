"""Parameters of secrets, logs, the database and the issuer of tokens."""

from decanter.deployment import functions
from decanter.deployment.references import Json, is_given
from decanter.deployment.stage import Stage

LOG_RETENTION_DAYS = 30


def conditions() -> Json:
    """Conditions on which secrets are given."""
    names = map(functions.secret_parameter, functions.roles())
    return {
        "OwnReceiptKey": {"Fn::Equals": [{"Ref": "ReceiptKeySecret"}, ""]},
        **{f"Has{name}": is_given(name) for name in names},
    }


def parameters(stage: Stage) -> Json:
    """Parameters of the template for a stage."""
    return {
        "DatabaseUrlSecret": {
            "Type": "String",
            "Default": f"{stage.prefix}/database-url",
            "Description": (
                "Name or ARN of the Secrets Manager secret that holds the libpq URL of the "
                "database's owner, for migrations; it must exist before the stack."
            ),
        },
        **{
            functions.secret_parameter(role): {
                "Type": "String",
                "Default": f"{stage.prefix}/{role}-url",
                "Description": (
                    f"Name or ARN of the secret that holds the libpq URL of the {role} role; "
                    "empty: there is none, and the owner's URL is used."
                ),
            }
            for role in functions.roles()
        },
        "SecretsVersion": {
            "Type": "String",
            "Default": "",
            "Description": (
                "Changes with the secrets, as CloudFormation reads them only for what it updates."
            ),
        },
        "ReceiptKeySecret": {
            "Type": "String",
            "Default": "",
            "Description": (
                "Name or ARN of a secret with the receipt keys, separated by spaces: the first "
                "signs, all verify. Empty: the stack creates one. Stacks that share it accept each "
                "other's receipts."
            ),
        },
        "LogRetentionDays": {
            "Type": "Number",
            "Default": LOG_RETENTION_DAYS,
            "AllowedValues": [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1827],
            "Description": "How many days logs are kept.",
        },
        **(_database_resource(stage) if stage.tokens else {}),
        **(_issuer(stage) if stage.authentication == "jwt" else {}),
    }


def _database_resource(stage: Stage) -> Json:
    return _DSQL_CLUSTER if stage.engine == "dsql" else _DATABASE_RESOURCE


_DSQL_CLUSTER = {
    "DatabaseResource": {
        "Type": "String",
        "AllowedPattern": "^[a-z0-9]{26}$",
        "ConstraintDescription": "the identifier of a cluster of Aurora DSQL",
        "Description": "Identifier of the cluster, with which the name of its endpoint begins.",
    }
}

_DATABASE_RESOURCE = {
    "DatabaseResource": {
        "Type": "String",
        "AllowedPattern": "^(db|cluster|prx)-[A-Za-z0-9]+$",
        "ConstraintDescription": "the resource ID of an RDS instance, cluster or proxy",
        "Description": "Resource ID of the database that tokens are for, such as db-ABC.",
    }
}


def _issuer(stage: Stage) -> Json:
    secure = r"https://[^\s]+|http://(127\.0\.0\.1|localhost)([:/][^\s]*)?"
    return {
        "JwtIssuer": {
            "Type": "String",
            "AllowedPattern": f"^({secure})$",
            "ConstraintDescription": "an https URL (http on loopback only)",
            "Description": "The OIDC issuer of the tokens, exactly as in their claim iss.",
            **_default(stage.issuer),
        },
        "JwtAudience": {
            "Type": "String",
            "MinLength": 1,
            "Description": "The audience that the claim aud of a token must be or contain.",
            **_default(stage.audience),
        },
        "JwtJwksUrl": {
            "Type": "String",
            "AllowedPattern": f"^({secure})?$",
            "ConstraintDescription": "an https URL (http on loopback only), or nothing",
            "Description": (
                "URL of the issuer's keys; empty: the one in its /.well-known/openid-configuration."
            ),
            "Default": stage.jwks_url or "",
        },
    }


def _default(value: str | None) -> Json:
    return {} if value is None else {"Default": value}
