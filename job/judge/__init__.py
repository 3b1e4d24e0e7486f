"""Is the new model better, and better than nothing? Pure: numbers in, numbers out."""
