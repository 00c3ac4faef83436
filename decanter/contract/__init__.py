"""`chalicelib/models.py` → `chalicelib/contract.json`, and from that `rules.jsonl`."""

from decanter.contract.compiler import FILE, RULES, committed, compiled, files

__all__ = ["FILE", "RULES", "committed", "compiled", "files"]
