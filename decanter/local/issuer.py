"""The issuer of tokens for the local cloud: a key pair in the data folder, without a server.

Whoever can read the folder can issue any token for this local cloud; no other stage trusts the key.
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

# A name, not an address: callers stay the same when the local cloud gets another port.
URL = "http://localhost/decanter"
AUDIENCE = "decanter"
ALGORITHM = "ES256"
ALL_SCOPES = "*:read *:write ops:read ops:write"
SUBJECT = "dev"
HOUR = 3600
DAY = 24 * HOUR  # lifetime of the token that `make run` prints


@dataclass(frozen=True)
class Issuer:
    """home: the data folder, in which the key is created on first use."""

    home: Path

    def token(
        self,
        scope: str = ALL_SCOPES,
        subject: str = SUBJECT,
        seconds: int = HOUR,
        **claims: Any,
    ) -> str:
        """Return a token that is valid for so many seconds. claims: override the default ones."""
        import jwt

        now = int(time.time())
        usual = {"iss": URL, "aud": AUDIENCE, "sub": subject, "scope": scope}
        times = {"iat": now, "exp": now + seconds}
        return jwt.encode(
            usual | times | claims, self.key, ALGORITHM, headers={"kid": self.jwk["kid"]}
        )

    @cached_property
    def key(self) -> str:
        """The private key, PEM."""
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        path = self.home / "issuer.key"
        if not path.exists():
            key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            self.home.mkdir(parents=True, exist_ok=True)
            # Readable by its owner only; a key that another process just created is kept.
            descriptor, beside = tempfile.mkstemp(dir=self.home)
            with os.fdopen(descriptor, "wb") as file:
                file.write(key)
            with contextlib.suppress(FileExistsError):
                os.link(beside, path)
            Path(beside).unlink()
        return path.read_text()

    @cached_property
    def jwk(self) -> dict[str, Any]:
        """The public key, with its thumbprint (RFC 7638) as kid."""
        import base64
        import hashlib

        from cryptography.hazmat.primitives.serialization import load_pem_private_key
        from jwt.algorithms import ECAlgorithm

        public: Any = load_pem_private_key(self.key.encode(), None).public_key()
        members = ECAlgorithm.to_jwk(public, as_dict=True)
        required = {name: members[name] for name in ("crv", "kty", "x", "y")}
        digest = hashlib.sha256(json.dumps(required, separators=(",", ":")).encode()).digest()
        thumbprint = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        return required | {"kid": thumbprint, "use": "sig", "alg": ALGORITHM}

    @property
    def jwks(self) -> dict[str, Any]:
        """The key set (JWKS) that verifiers fetch."""
        return {"keys": [self.jwk]}
