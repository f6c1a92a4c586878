"""Images that a trained generator makes of the label maps of test scans, in HU on the grids of their sources."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from volforge.cohort.collect import as_tsv
from volforge.config.models import SliceRecipe
from volforge.errors import VolforgeError
from volforge.study.cases import Case, Cohort, cases_with
from volforge.study.colours import colours_of
from volforge.study.jobs import PredictJob
from volforge.study.predict import cost, predict_without_models
from volforge.study.predictions import PANEL, Prediction, write_predictions
from volforge.study.settings import ArmSettings
from volforge.tasks.semantic_synthesis.baselines import BASELINES
from volforge.tasks.semantic_synthesis.settings import SynthesisSettings
from volforge.volume.cut import AXES, from_stack, put_back, slice_placement, take, to_stack
from volforge.volume.cut_scan import focus_of
from volforge.volume.folders import form_of, read_object, sha256_of, whole_folder, write_json
from volforge.volume.geometry import Array, Grid
from volforge.volume.intensity import AIR_HU
from volforge.volume.restore import write_on_source_grid
from volforge.weights import fill, read_tensors
from volforge.whole_file import write_whole

if TYPE_CHECKING:
    from torch import Tensor, nn

FILES = ("labels", "image")
SAMPLES = "samples.tsv"
MOST_SHOWN = 6  # samples in a picture
COLUMNS = (
    "scan", "sample", "file", "sha256", "seed", "latent_sha256", "own_latent_sha256", "share", "weights_sha256", "step",
)  # fmt: skip


def predict(settings: ArmSettings, job: PredictJob) -> int:
    """Paint the label maps of all test cases of a fold, into a folder that appears whole.

    Args:
        settings: The arm.
        job: Scans, fold, the generator, and the folder `predictions`.

    Returns:
        Number of cases.

    Raises:
        VolforgeError: Nothing to measure, nothing to learn from, or files that cannot be used.
    """
    start = time.perf_counter()
    cohort = Cohort(job.scans)
    cases = cases_with(settings, cohort, job.fold, FILES, settings.target)
    if predict_without_models(settings, job, cohort, cases, BASELINES, labels=False):
        return len(cases)
    (folder,) = job.models.values()
    generator = load_generator(folder, job.device, job.seed)
    with whole_folder(job.out) as scratch:
        write_predictions(scratch, paint_cases(settings, cohort, cases, generator, scratch, job.device))
        write_json(scratch / "cost.json", cost(len(cases), start, job.device))
    return len(cases)


@dataclass(frozen=True)
class Generator:
    """A trained generator.

    Attributes:
        settings: What it was trained by.
        about: Content of model.json.
        network: In evaluation mode.
        seed: Of its training; latents of samples are drawn from it, the scan and the sample's number.
    """

    settings: SynthesisSettings
    about: Mapping[str, Any]
    network: nn.Module
    seed: int = 0

    @property
    def draws(self) -> bool:
        """Whether another latent gives another image."""
        return bool(self.noise or getattr(self.network, "grain", 0))

    @property
    def noise(self) -> int:
        """Length of latents; 0 where the image depends on the labels alone."""
        return int(getattr(self.network, "noise", 0))


def load_generator(folder: Path, device: str = "cpu", seed: int = 0) -> Generator:
    """Load a generator's folder: model.json and weights.safetensors.

    Raises:
        VolforgeError: Files are missing, damaged or of another model.
    """
    from volforge import components

    about, weights = read_object(folder / "model.json", "the description of a model"), folder / "weights.safetensors"
    if not weights.exists() or sha256_of(weights) != about.get("sha256"):
        text = "the weights are missing, or not those that model.json describes"
        raise VolforgeError(text, str(weights), "copy both files anew")
    components.refuse_unnamed(about, folder)
    names = {f.name for f in fields(SynthesisSettings)}
    with form_of(folder / "model.json", "the description of a model of semantic synthesis"):
        settings = SynthesisSettings.of({k: v for k, v in about.items() if k in names})
    network: nn.Module = components.build("network", settings.network, classes=settings.channels, channels=1)
    fill(network, read_tensors(weights), weights)
    return Generator(settings, about, network.eval().to(device), seed)


def painted(
    generator: Generator,
    labels: Array,
    grid: Grid,
    noise: Tensor,
    *,
    focus: Array | None,
    own: Mapping[int, Tensor] | None = None,
    grain_from: Tensor | None = None,
    device: str = "cpu",
) -> Array:
    """An image of a label map on its own grid.

    The map is cut as the recipe says, painted slice by slice with one latent, and put back; what lies beyond the
    recipe's slices is air.

    Args:
        generator: Trained.
        labels: (X, Y, Z) ids of the cohort, canonical.
        grid: Their grid.
        noise: (Z,) latent of the volume.
        focus: (X, Y, Z) what the slices are centred on, as in training (`focus_of`); None: the whole grid.
        own: Latents of single classes (channel numbers).
        grain_from: Latent that noise by pixel is drawn from; None: `noise`.
        device: Where it runs.

    Returns:
        (X, Y, Z), within the recipe's window: int16 HU; for MR float32 percent of the window, 0 outside.
    """
    from volforge.tasks.semantic_synthesis.paint import paint

    settings = generator.settings
    recipe = SliceRecipe(**settings.recipe_settings)
    placement = slice_placement(grid, recipe, focus)
    axis = AXES[recipe.axis]
    stack = to_stack(take(labels, grid, placement, outside=0, kind="labels"), axis)
    classes = settings.class_of[stack]
    made = paint(generator.network, classes, settings.channels, noise, own, grain_from=grain_from, device=device)
    low, high = settings.window
    values = from_stack((made + 1) / 2 * (high - low) + low, axis)
    outside = float(AIR_HU) if settings.is_hounsfield else 0.0
    found = put_back(np.asarray(values, np.float32), grid, placement, outside=outside, kind="image")
    return np.rint(found).astype(np.int16) if settings.is_hounsfield else np.asarray(found, np.float32)


def paint_cases(
    settings: ArmSettings, cohort: Cohort, cases: list[Case], generator: Generator, folder: Path, device: str
) -> list[Prediction]:
    """Paint the label maps of all cases, with as many samples as the arm asks for.

    Also writes samples.tsv, and a picture of each case: label map, real image, samples.

    Args:
        settings: The arm.
        cohort: Its cohort.
        cases: What is painted.
        generator: Trained.
        folder: Where the volumes go.
        device: Where it runs.
    """
    import torch
    from PIL import Image

    from volforge.tasks.semantic_synthesis.latents import latent, latent_hash, latents_of
    from volforge.tasks.semantic_synthesis.panel import sample_panel

    colours = colours_of(cohort)

    torch.set_num_threads(int(settings.inference["threads"]))
    options = settings.inference
    samples, length, way = int(options["samples"]), float(options["truncation"]), bool(options["between"])
    vary = generator.settings.channels_of(options["vary"])
    predictions, rows = [], []
    for case in cases:
        record: dict[str, Any] = cohort.record(case.scan)
        grid = Grid.of(record["grid"])
        labels, made = cohort.read(case.scan, "labels"), []
        parts = {"labels": labels} | ({"body": cohort.read(case.scan, "body")} if cohort.has(case.scan, "body") else {})
        focus = focus_of(parts, str(record["modality"]))
        drawn = [latent(max(1, generator.noise), generator.seed, case.scan, n) for n in range(samples)]
        for sample, z in enumerate(latents_of(drawn, length=length, some_vary=bool(vary), on_the_way=way)):
            own = dict.fromkeys(vary, z.own) if z.own is not None else None
            values = painted(generator, labels, grid, z.whole, focus=focus, own=own, grain_from=z.grain, device=device)
            path = folder / (f"{case.scan}.nii.gz" if not sample else f"{case.scan}.{sample}.nii.gz")
            write_on_source_grid(path, values, record, labels=False)
            made.append(values)
            digest = sha256_of(path)
            named = Prediction(case.scan, case.subject, case.reference, case.label_source, sample)
            predictions.append(replace(named, file=path.name, sha256=digest))
            rows.append(
                {
                    "scan": case.scan,
                    "sample": sample,
                    "file": path.name,
                    "sha256": digest,
                    "seed": generator.seed,
                    "latent_sha256": latent_hash(z.whole) if generator.draws else "",
                    "own_latent_sha256": latent_hash(z.own) if z.own is not None else "",
                    "share": "" if math.isnan(z.share) else f"{z.share:.6g}",
                    "weights_sha256": generator.about["sha256"],
                    "step": generator.about["step"],
                }
            )
        real = cohort.target_image(case.reference) if cohort.has(case.reference, "image") else None
        spacing, is_hounsfield = grid.spacing_mm, generator.settings.is_hounsfield
        sheet = sample_panel(labels, real, made[:MOST_SHOWN], spacing, colours, is_hounsfield)
        Image.fromarray(sheet).save(folder / f"{case.scan}{PANEL}")
    write_whole(folder / SAMPLES, as_tsv(COLUMNS, rows))
    return predictions
