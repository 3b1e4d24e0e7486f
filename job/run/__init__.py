"""A run: the protocol of docs/reliability.md, step by step."""
