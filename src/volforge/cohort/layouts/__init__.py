"""Layouts of public data sets: a folder as it was unpacked becomes a sample sheet with its structures."""
