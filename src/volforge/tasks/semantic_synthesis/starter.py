"""A first study of semantic synthesis: images painted from label maps."""

from __future__ import annotations

from volforge.tasks.starting import SLICES, Facts, Start, slice_recipe, too_few

FEWEST = 4  # structures that tell enough of an image
DARK = ("lung", "trachea", "airway", "gas", "air", "sinus")
"""Words in the names of structures as dark as air."""


def start(facts: Facts) -> Start | str:
    """Images of the modality that has most labelled scans."""
    rows = facts.having("image", "labels")
    modalities = [m for m in ("CT", "MR") if any(r.modality == m for r in rows)]
    if not modalities or not facts.structures:
        return "it takes CT or MR with labels and a table of structures"
    target = max(modalities, key=lambda m: sum(r.modality == m for r in rows))
    few = too_few([r for r in rows if r.modality == target], f"{target} and labels")
    if few:
        return few
    dark = [s.structure for s in facts.structures if set(DARK) & set(s.structure.split("_"))]
    lines = [
        "task: semantic_synthesis",
        f"cohort: {facts.cohort}",
        *([facts.tested] if facts.tested else []),
        f"source: {{modality: {target}}}",
        f"target: {{modality: {target}}}",
        "metrics: {distribution: false, segmenter_steps: 100} # true: distances of whole sets of slices too",
        "arms:",
        "  # every structure in its mean value; and the real images, which no arm can beat",
        "  mean_painting: {baseline: mean_painting}",
        "  real: {baseline: real}",
        "  # a small generator that is shown images with their label maps (docs/semantic-synthesis.md)",
        "  volforge:",
        "    models:",
        "      image:",
        f"        recipe: {SLICES}",
        "        network: {name: oasis_generator, width: 8, blocks: 4, hidden: 16, noise: 4, grain: 2, gain: 1}",
        "        synthesis:",
        "          mode: paired",
        "          segmenter: {name: oasis_segmenter, width: 8, levels: 3, gain: 1}",
        "          discriminator: null",
        "          label_mix: 1",
        "          moments: 10",
        "          rates: {generator: 2.0e-3, segmenter: 2.0e-3}",
        *([f"          dark: [{', '.join(dark)}] # as dark as air"] if dark else []),
        "        training: {steps: 300, batch: 1, ema: 0.99, augmentation: none, validate_every: 150}",
        "    inference: {samples: 2} # images of each label map",
    ]
    doubt = ""
    if len(facts.structures) < FEWEST or facts.shows_crops:
        doubt = (
            f"the label maps know {len(facts.structures)} structures"
            f"{' of crops' if facts.shows_crops else ''}, and should tell most of what an image shows"
        )
    return Start("\n".join(lines), {SLICES: slice_recipe(facts)}, doubt=doubt)
