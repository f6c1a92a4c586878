"""Baselines of semantic synthesis by name: the places of their predictors, and what they learn from."""

BASELINES = {
    "mean_painting": "volforge.baselines.images:mean_painting",
    "constant": "volforge.baselines.images:constant_value",
    "white_noise": "volforge.baselines.images:white_noise_in_body",
    "other_subject": "volforge.baselines.images:image_of_another",
    "real": "volforge.baselines.images:real",
}
LEARNS = {"mean_painting": ("image", "labels"), "white_noise": ("image",), "other_subject": ("image",)}
