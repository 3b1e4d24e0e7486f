"""The published set of models: the index (each release is one Delta commit), `ModelSet`, signatures."""
