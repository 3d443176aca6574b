"""Metrics that take whole batches in numpy, behind TFMA's interface for metrics.

TFMA's own go example by example in Python, which is nearly all of what an evaluation costs. Names, definitions and
results are TFMA's; what is not computed here stays with TFMA, see `choosing`.
"""
