"""A run: the protocol of docs/explanation/reliability.md, step by step."""
