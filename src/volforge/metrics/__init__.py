"""Measures of results: overlap, surface distance, images, distributions, uncertainty, statistics."""
