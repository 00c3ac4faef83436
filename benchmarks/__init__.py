"""Benchmarks that anyone can run: `python -m decanter bench …`."""
