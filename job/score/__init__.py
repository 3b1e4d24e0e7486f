"""Scoring: what a model says of its key's rows, and the tables that it is written as. Pure."""
