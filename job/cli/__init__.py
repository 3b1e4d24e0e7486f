"""The command line: parsing, wiring, what is printed."""
