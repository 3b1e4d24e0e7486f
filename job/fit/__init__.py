"""One partition, from rows to a model in memory. No store is touched here."""
