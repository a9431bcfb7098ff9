"""Benchmarks: ratios of process CPU time at one thread, against references that are hard-coded here.

``python -m tests.benchmarks`` prints every table; nothing here is a gate, since machines differ and are busy.
"""
