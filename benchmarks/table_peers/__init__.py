"""Contenders of `benchmarks.one_table`: ways to train one model for each key of one table, from files to files."""
