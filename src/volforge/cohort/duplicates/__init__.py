"""The same head in two cohorts, or twice in one: found by its shape."""
