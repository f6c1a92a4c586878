"""Effects of background removal, mask loss and generator from `config/examples/body_synthesis_ablation.yaml`.

Usage: python benchmarks/ablation_effects.py [FOLDER OF RESULTS]

An effect is the mean over test subjects, and over the levels of the other factors, of one level less the other. Two
intervals stand beside it: over subjects (bootstrap, trainings averaged first), and over pairs of trainings that differ
in this factor alone (Student's t over 12 pairs, subjects averaged first). Fréchet distances: one value a training,
and each study has its own encoder: they are compared within a study.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from volforge.metrics.statistics import bootstrap_interval

STUDIES = {"removed": "background_removed", "kept": "background_kept"}
MEASURES = (
    ("outline_dice", "body"), ("outline_hd95_mm", "body"), ("segmenter_dice_ratio", "structures"),
    ("texture_sd_ratio", ""), ("mae_hu", "body"), ("frechet_slice_encoder", "slices"),
)  # fmt: skip
FACTORS = (
    ("mask loss", "mask", (True, False)),
    ("generator: wavelet less OASIS", "generator", ("wavelet", "oasis")),
    ("background: removed less kept", "background", ("removed", "kept")),
)


def values(results: Path) -> pd.DataFrame:
    """One row per background, generator, mask, seed, subject and measure."""
    parts = []
    for background, study in STUDIES.items():
        frame = pd.read_csv(results / "studies" / study / "measures.tsv", sep="\t", keep_default_na=False)
        frame = frame.assign(background=background, generator=frame["arm"].str.split("_").str[0])
        frame["mask"] = frame["arm"].str.endswith("_mask")
        frame["value"] = pd.to_numeric(frame["value"], errors="coerce")
        for measure, structure in MEASURES:
            own = frame[(frame["measure"] == measure) & ((frame["structure"] == structure) | (structure == ""))]
            keys = ["background", "generator", "mask", "seed", "subject", "measure"]
            parts.append(own.groupby(keys, as_index=False)["value"].mean())
    return pd.concat(parts)


def interval_of_pairs(differences: np.ndarray) -> tuple[float, float]:
    """Student's interval of the mean over pairs of trainings."""
    half = float(stats.t.ppf(0.975, len(differences) - 1) * differences.std(ddof=1) / np.sqrt(len(differences)))
    return float(differences.mean()) - half, float(differences.mean()) + half


def effect(frame: pd.DataFrame, factor: str, levels: tuple[object, object]) -> tuple[np.ndarray, np.ndarray]:
    """One level less the other: by subject with trainings averaged, and by pair of trainings with subjects averaged."""
    others = [c for c in ("background", "generator", "mask") if c != factor]
    found = []
    for by in (["subject"], [*others, "seed"]):
        first, second = (frame[frame[factor] == level].groupby(by)["value"].mean() for level in levels)
        found.append((first - second).to_numpy())
    return found[0], found[1]


def main(results: Path) -> None:
    every = values(results)
    cell = ["background", "generator", "mask"]
    by_seed = every.pivot_table(index=[*cell, "seed"], columns="measure", values="value")
    cells, spread = by_seed.groupby(cell).mean(), by_seed.groupby(cell).std()
    order = [m for m, _ in MEASURES]
    print("| background | generator | mask loss | " + " | ".join(order) + " |")
    print("| --- " * (3 + len(order)) + "|")
    for key, line in cells[order].iterrows():
        background, generator, mask = key
        texts = [f"{line[m]:.3g} ± {spread.loc[key, m]:.2g}" for m in order]
        print(f"| {background} | {generator} | {'yes' if mask else 'no'} | " + " | ".join(texts) + " |")
    print("\n| effect of | on | mean | over subjects | over trainings |\n| --- | --- | --- | --- | --- |")
    for name, factor, levels in FACTORS:
        for measure in order:
            own = every[every["measure"] == measure]
            of_sets = measure.startswith("frechet")
            if of_sets and factor == "background":
                continue
            of_subjects, of_pairs = effect(own, factor, levels)
            first = "–" if of_sets else "{:.3g} to {:.3g}".format(*bootstrap_interval(of_subjects))
            second = "{:.3g} to {:.3g}".format(*interval_of_pairs(of_pairs))
            print(f"| {name} | {measure} | {of_pairs.mean():.3g} | {first} | {second} |")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "results"))
