"""Arguments, environment and files become settings, every mistake at once."""
