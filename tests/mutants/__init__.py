"""Small faults put into the core, one at a time: does a test notice? `make mutants` plays them."""
