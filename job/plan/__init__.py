"""The plan of a run: which keys are trained, why, and in which tasks. Pure."""
