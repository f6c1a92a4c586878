"""A first study of segmentation: what no learning gives, and a small network."""

from __future__ import annotations

from volforge.tasks.starting import REGION, Facts, Start, region_recipe, too_few

MOST = 8  # structures of a first run
BRIGHT = ("bone", "skull", "condyle", "mandible", "vertebra", "rib", "hip", "femur", "tibia", "sacrum", "teeth", "jaw")
"""Words in the names of structures that CT shows above 250 HU."""


def start(facts: Facts) -> Start | str:
    """Segmentation of the structures of labelled scans."""
    rows = facts.having("image", "labels")
    few = too_few(rows, "an image and labels")
    if few or not facts.structures:
        return few or "labels without a table of structures"
    recipe, patch = region_recipe(facts)
    names = list(dict.fromkeys(s.structure for s in facts.structures))
    lines = ["task: segmentation", f"cohort: {facts.cohort}", *([facts.tested] if facts.tested else [])]
    if len(names) > MOST:
        names = names[:MOST]
        lines.append(f"structures: [{', '.join(names)}] # a few of {len(facts.structures)}; without this line: all")
    lines += [
        "arms:",
        "  # learns nothing but the most frequent label at each place: a network must do better than that",
        "  mean_labels: {baseline: mean_labels}",
    ]
    is_ct = all(r.modality == "CT" for r in rows)
    if is_ct and all(any(word in name for word in BRIGHT) for name in names):
        lines += [
            "  # the largest bright piece in the box where a structure usually lies; bright: above 250 HU",
            "  threshold_components: {baseline: threshold_components}",
        ]
    lines += [
        "  # a small network, some minutes on two cores; better: width 32, levels 4, steps 5000 (docs/training.md)",
        "  volforge:",
        "    models:",
        "      all:",
        f"        recipe: {REGION}",
        "        network: {name: residual_unet, width: 8, levels: 3, blocks: [1], supervised: 2, norm: batch}",
        "        loss: dice_ce",
        "        # patch: voxels along left-right, back-front, feet-head that it sees at a time",
        f"        training: {{steps: 300, batch: 2, patch: {patch}, rate: 0.005, ema: 0.95, augmentation: none,",
        "          validate_every: 100, validation_cases: 4}",
    ]
    return Start("\n".join(lines), {REGION: recipe})
