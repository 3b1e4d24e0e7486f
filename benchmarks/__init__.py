"""Benchmarks: one file per question. ``make bench``: the table with every peer; ``make bench-scale``: the rest."""
