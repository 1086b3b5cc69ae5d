"""Measures the target beside others on one machine; `python -m benchmarks --help` tells how."""
