"""A task on an executor: reads data ahead of the fit, fits, uploads in the background, and writes outcomes."""
