"""Scoring: applies a model to the rows of its key, and makes tables of predictions. Pure."""
