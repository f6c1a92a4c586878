"""Shapes of bones and of the space between them."""
