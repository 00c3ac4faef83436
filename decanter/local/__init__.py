"""The local cloud: Postgres, MiniStack and `chalice local` on this machine."""

from decanter import PROJECT

HOME = PROJECT / ".decanter"
"""Where its data are kept, unless another folder is named."""
