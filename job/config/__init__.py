"""Turns arguments, environment and files into settings, and reports all mistakes at once."""
