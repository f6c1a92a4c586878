"""Baselines of segmentation by name: the places of their predictors."""

BASELINES = {
    "threshold_components": "volforge.baselines.labels:threshold_components",
    "mean_labels": "volforge.baselines.labels:mean_labels",
}
LEARNS = dict.fromkeys(BASELINES, ("labels",))
