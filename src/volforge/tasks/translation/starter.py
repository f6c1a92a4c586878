"""A first study of translation: CT from MR, learnt without pairs and measured on some."""

from __future__ import annotations

from collections import Counter

from volforge.cohort.sheet import SheetRow
from volforge.tasks.starting import SLICES, Facts, Start, slice_recipe, too_few


def start(facts: Facts) -> Start | str:
    """Translation of MR, or else of CBCT, to CT."""
    rows = facts.having("image")
    targets = [r for r in rows if r.modality == "CT"]
    source = next((m for m in ("MR", "CBCT") if any(r.modality == m for r in rows)), "")
    if not source or not targets:
        return "it takes images of MR (or CBCT) and of CT"
    frames = {(r.subject, r.frame) for r in targets if r.frame}
    paired = [r for r in rows if r.modality == source and (r.subject, r.frame) in frames]
    if not paired:
        return f"no subject has {source} and CT of one `frame`, so that nothing could be measured"
    few = too_few(targets, "a CT") or too_few(paired, f"{source} and CT of one frame")
    if few:
        return few
    contrast = _most_frequent(paired)
    named = f", contrast: {contrast}" if contrast else ""
    is_mr = source == "MR"
    has_labels = any("labels" in r.files for r in targets)
    lines = [
        "task: translation",
        f"cohort: {facts.cohort}",
        *([facts.tested] if facts.tested else []),
        f"source: {{modality: {source}{named}}}",
        "target: {modality: CT}",
        "metrics: {distribution: false} # true: distances of whole sets of slices too, which takes longer",
        "defaults:",
        f"  recipe: {SLICES}",
        "  training: {steps: 400, batch: 2, schedule: late_linear, clip: 0, flip: [x], validation: 0, which: latest,",
        "    validate_every: 200}",
        "arms:",
        "  # what no network gives; an arm that does not beat `depth_profile` has learnt nothing of use",
        "  constant: {baseline: constant}",
        "  depth_profile: {baseline: depth_profile}",
    ]
    if is_mr:
        painting = ", painting: {from_labels: true}" if has_labels else ""
        lines += [
            "  # learns from CT alone, as MR are painted from it; published methods: docs/translation.md",
            "  volforge:",
            "    models:",
            "      axial:",
            "        network: {name: image_unet, width: 16, levels: 4}",
            f"        translation: {{method: painted{painting}, bone: 1, edges: 1, beta1: 0.9}}",
            "        training: {rate: 2.0e-3, ema: 0.98, augmentation: light}",
        ]
    else:
        lines += [
            "  # published: two generators that undo each other; it sees no pairs",
            "  cyclegan:",
            "    models:",
            "      axial:",
            "        network: {name: resnet_generator, width: 8, blocks: 3}",
            "        translation: {method: cycle, discriminator: {name: patch_discriminator, width: 16, layers: 2}}",
            "        training: {rate: 4.0e-4, augmentation: none}",
        ]
    return Start("\n".join(lines), {SLICES: slice_recipe(facts)})


def _most_frequent(rows: list[SheetRow]) -> str:
    """The contrast that most scans have, quoted for YAML; empty where none is named."""
    import json

    counts = Counter(r.contrast for r in rows)
    name = min(counts, key=lambda c: (-counts[c], c))
    return json.dumps(name, ensure_ascii=False) if name else ""
