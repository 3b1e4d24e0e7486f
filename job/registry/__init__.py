"""The published set: one Delta commit a release, `ModelSet`, signatures."""
