"""The issuer of tokens for the local cloud: a key pair in the data folder, and nothing that runs.

Whoever can read the folder can be anyone, on this machine only: no stage elsewhere trusts the key.
"""

import contextlib
import json
import os
import tempfile
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

# A name, not a place: who calls must stay the same when the local cloud gets another port.
URL = "http://localhost/decanter"
AUDIENCE = "decanter"
ALGORITHM = "ES256"
ALL_SCOPES = "*:read *:write"
SUBJECT = "dev"
HOUR = 3600
DAY = 24 * HOUR  # of the token that `make run` prints


@dataclass(frozen=True)
class Issuer:
    """Makes tokens. home: the data folder; the key is made when it is first needed."""

    home: Path

    def token(
        self,
        scope: str = ALL_SCOPES,
        subject: str = SUBJECT,
        seconds: int = HOUR,
        **claims: Any,
    ) -> str:
        """A token that is good from now on for so many seconds. claims: in place of ours."""
        import jwt

        now = int(time.time())
        ours = {"iss": URL, "aud": AUDIENCE, "sub": subject, "scope": scope}
        times = {"iat": now, "exp": now + seconds}
        return jwt.encode(
            ours | times | claims, self.key, ALGORITHM, headers={"kid": self.jwk["kid"]}
        )

    @cached_property
    def key(self) -> str:
        """The private key, PEM."""
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        path = self.home / "issuer.key"
        if not path.exists():
            made = ec.generate_private_key(ec.SECP256R1()).private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            self.home.mkdir(parents=True, exist_ok=True)
            # Readable by its owner only, and never put in place of one that was just made.
            descriptor, beside = tempfile.mkstemp(dir=self.home)
            with os.fdopen(descriptor, "wb") as file:
                file.write(made)
            with contextlib.suppress(FileExistsError):
                os.link(beside, path)
            Path(beside).unlink()
        return path.read_text()

    @cached_property
    def jwk(self) -> dict[str, Any]:
        """The public key; its name is its thumbprint (RFC 7638)."""
        import base64
        import hashlib

        from cryptography.hazmat.primitives.serialization import load_pem_private_key
        from jwt.algorithms import ECAlgorithm

        public: Any = load_pem_private_key(self.key.encode(), None).public_key()
        members = ECAlgorithm.to_jwk(public, as_dict=True)
        named = {name: members[name] for name in ("crv", "kty", "x", "y")}
        digest = hashlib.sha256(json.dumps(named, separators=(",", ":")).encode()).digest()
        name = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        return named | {"kid": name, "use": "sig", "alg": ALGORITHM}

    @property
    def jwks(self) -> dict[str, Any]:
        """The key set that a verifier fetches."""
        return {"keys": [self.jwk]}
