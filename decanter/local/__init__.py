"""The local cloud: Postgres, MiniStack and `chalice local` on this machine."""

from decanter import PROJECT

HOME = PROJECT / ".decanter"
"""Default folder of its data."""
