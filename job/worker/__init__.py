"""A task on an executor: read ahead, do the work, put behind, write down."""
