"""Compares the errors of models: of a new model with the live one, and of a model with a baseline. Pure."""
