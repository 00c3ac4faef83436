"""Benchmarks of Decanter and its peers: `python -m benchmarks drain`."""
