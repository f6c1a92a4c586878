"""Baselines of translation by name: the places of their predictors, and what they learn from."""

BASELINES = {
    "constant": "volforge.baselines.images:constant_value",
    "constant_median": "volforge.baselines.outlines:constant_median",
    "histogram_matching": "volforge.baselines.images:histogram_matching",
    "identity": "volforge.baselines.images:source_itself",
    "depth_profile": "volforge.baselines.outlines:depth_profile",
    "mean_subject": "volforge.baselines.outlines:mean_subject",
    "other_subject": "volforge.baselines.images:image_of_another",
    "outline_ceiling": "volforge.baselines.outlines:outline_ceiling",
}
LEARNS = dict.fromkeys(
    ("constant_median", "histogram_matching", "depth_profile", "mean_subject", "other_subject"), ("image",)
)
CEILINGS = ("outline_ceiling",)
MUST_BEAT = "depth_profile"
"""An arm is called learnt only if it beats this baseline in `LEARNT_BY`."""
LEARNT_BY = (("body", "mae_hu"), ("bone", "bone_dice"))
