"""Volumes: reading, canonical geometry, body mask, recipes, slice store."""
