"""Fits one partition: from its rows to a model in memory. Nothing here accesses a store."""
