"""A task on an executor: read ahead, do the work, upload behind, write the outcomes."""
