"""Architectures, one file each. Importing a module of this package imports torch."""
