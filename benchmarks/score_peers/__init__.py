"""Ways to score a fleet: this job, the floor under it, and everybody else, on the same models and rows."""
