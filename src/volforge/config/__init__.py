"""Configuration: the models, and reading with places."""
