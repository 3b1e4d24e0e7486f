"""Scoring: the predictions of a model for the rows of its key, as tables. Pure."""
