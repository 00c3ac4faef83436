"""The local cloud: real Postgres, and MiniStack for everything that AWS runs."""
