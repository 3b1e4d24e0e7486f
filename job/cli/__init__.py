"""The command line: parses arguments, assembles the parts of a command, and prints."""
