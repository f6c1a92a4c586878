"""Baselines of implants by name: the places of their predictors, and what they learn from."""

BASELINES = {
    "mean_implant": "volforge.baselines.implants:mean_of_others",
    "mirror": "volforge.baselines.implants:mirrored",
    "closing": "volforge.baselines.implants:closed",
}
LEARNS = {"mean_implant": ("implant", "defective")}
