"""Configuration: the models, reading with places, and what is generated from them."""
