"""Baselines of translation by name: the places of their predictors, and what they learn from."""

BASELINES = {
    "constant": "volforge.baselines.images:constant_value",
    "histogram_matching": "volforge.baselines.images:histogram_matching",
    "identity": "volforge.baselines.images:source_itself",
}
LEARNS = {"histogram_matching": ("image",)}
