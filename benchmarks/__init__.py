"""Decanter beside its peers: `python -m benchmarks drain`."""
