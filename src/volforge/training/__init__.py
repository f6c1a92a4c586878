"""Training. Importing a module of this package imports torch."""
