"""Is a model better than another, or than a naive guess? Pure: numbers in, numbers out."""
