"""A trained generator over a whole scan: slab by slab, and back onto the scan's own grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from volforge.config.models import SliceRecipe
from volforge.errors import VolforgeError
from volforge.tasks.translation.canvas import Contrast, Source, canvas_of, channels_of
from volforge.tasks.translation.doubt import Doubt, Repetition, in_steps, jittered, repetitions, turned
from volforge.tasks.translation.settings import KIND, TranslationSettings
from volforge.volume.cut import AXES, from_stack
from volforge.volume.folders import form_of, read_object
from volforge.volume.geometry import Array
from volforge.volume.intensity import AIR_HU
from volforge.whole_file import write_whole

if TYPE_CHECKING:
    from torch import nn

SLAB = 8  # slices in memory at a time
PIXELS = 2**18  # that a network sees in one pass, unless one slice has more
OUTSIDE = -1.0  # in the networks' world


class Say(Protocol):
    """Is told of slices that are done, of all, and whether the last ones cost nothing: found finished, or no body."""

    def __call__(self, done: int, total: int, *, found: bool = False) -> None:
        """Tell it."""


@dataclass(frozen=True)
class Generator:
    """A trained generator.

    Attributes:
        settings: What it was trained by.
        about: Content of model.json.
        network: In evaluation mode.
        folder: Where it was read from.
    """

    settings: TranslationSettings
    about: Mapping[str, Any]
    network: nn.Module
    folder: Path

    @property
    def recipe(self) -> SliceRecipe:
        """Its slices."""
        return SliceRecipe(**self.settings.recipe_settings)

    @property
    def outside(self) -> float:
        """What stands outside of the body: air, or 0 percent."""
        return float(AIR_HU) if self.settings.is_hounsfield else 0.0


def load_generator(folder: Path, device: str = "cpu") -> Generator:
    """Load a generator's folder: model.json and weights.safetensors.

    Raises:
        VolforgeError: Files are missing, damaged, of another version, or of a model that translates nothing.
    """
    from volforge.tasks.translation.generator import make_generator, read_weights

    kind = read_object(folder / "model.json", "the description of a model").get("kind")
    if kind != KIND:
        text = f"the folder holds a model of the kind {kind or 'unknown'}, which translates nothing"
        raise VolforgeError(text, str(folder), "name the folder of a model of translation")
    about, weights = read_weights(folder)
    names = {f.name for f in fields(TranslationSettings)}
    with form_of(folder / "model.json", "the description of a model of translation"):
        settings = TranslationSettings.of({k: v for k, v in about.items() if k in names})
    network = make_generator(settings)
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        text = f"the weights do not fit the network: {error}"
        raise VolforgeError(text, str(folder), "use the version that made them") from error
    return Generator(settings, about, network.eval().to(device), folder)


def translated(
    generator: Generator,
    contrasts: Sequence[Contrast],
    *,
    flips: Sequence[str] = (),
    doubt: Doubt | None = None,
    slab: int = SLAB,
    device: str = "cpu",
    kept: Path | None = None,
    say: Say | None = None,
    raw: Array | None = None,
) -> tuple[Array, Array | None]:
    """A whole scan, translated by one model, on the grid of the scan.

    The scan is cut as for training, on a canvas that holds the whole body (`canvas_of`): networks of translation see
    slices of any size. Beside the volumes that come in and go out, memory is that of a slab.

    Args:
        generator: Trained.
        contrasts: The source, and the further contrasts that the model was trained with, in its order.
        flips: Axes (x, y, z) whose flips are averaged.
        doubt: Repetitions for the deviation; None: no deviation.
        slab: Slices at a time; it changes nothing but memory.
        device: Where it runs.
        kept: Folder for slabs that are done: found again there, the volume is the same. The caller answers for model,
            scan and options being the same too. None: nothing is kept.
        say: Told of finished slices and of all.
        raw: (X, Y, Z) of the image's dtype; filled with the image before the body is laid on it, where there are slices
            of the body.

    Returns:
        (X, Y, Z) within the window inside of the body: int16 HU, air (-1024) outside of it; for MR float32 percent of
        the window, 0 outside. And the standard deviation over repetitions in the same unit, float32, 0 outside of the
        body; None without doubt.

    Raises:
        VolforgeError: A number of contrasts that the model was not trained with; what `canvas_of` refuses; jitters of
            values that have a unit; a network that gives no numbers.
    """
    settings, first_one = generator.settings, contrasts[0]
    _check(generator, contrasts, doubt)
    body = first_one.body
    divisor = int(getattr(generator.network, "divisor", 1))
    canvas = canvas_of(first_one.grid, generator.recipe, body, divisor, first_one.scan)
    source = Source(contrasts, generator.recipe, canvas)
    passes = repetitions(flips, doubt)
    kind = np.int16 if settings.is_hounsfield else np.float32
    image = np.full(first_one.grid.shape, generator.outside, kind, order="F")
    deviation = np.zeros(first_one.grid.shape, np.float32, order="F") if doubt is not None else None
    for first in range(0, canvas.count, slab):
        end = min(first + slab, canvas.count)
        box, grid, _ = canvas.slab(first, end)
        here = body[box] if body is not None else np.ones(grid.shape, bool)
        others = tuple(a for a in range(3) if a != canvas.axis)
        shown, is_found = np.asarray(here.any(axis=others)), True
        if shown.any():
            made = _read_slab(kept, first)
            is_found = made is not None
            if made is None:
                stacks = source.slab(first, end, settings.context)
                mean, spread = _passed(generator, stacks, passes, shown, device)
                unit = _in_unit(generator, canvas.back(from_stack(mean, canvas.axis), first, end, OUTSIDE))
                made = (np.where(here, unit, np.asarray(generator.outside, unit.dtype)),)
                if raw is not None:
                    made += (unit,)
                if deviation is not None:
                    made += (
                        _of_spread(generator, canvas.back(from_stack(spread, canvas.axis), first, end, 0.0), here),
                    )
                _keep_slab(kept, first, made)
            image[box] = made[0]
            if raw is not None:
                raw[box] = made[1]
            if deviation is not None:
                deviation[box] = made[-1]
        if say is not None:
            say(end, canvas.count, found=is_found)
    return image, deviation


def _check(generator: Generator, contrasts: Sequence[Contrast], doubt: Doubt | None) -> None:
    wanted = 1 + len(generator.settings.also)
    if len(contrasts) != wanted:
        named = ", ".join([str(generator.settings.source["contrast"] or "source"), *generator.settings.also])
        text = f"{len(contrasts)} contrasts for a model of {wanted} ({named})"
        raise VolforgeError(text, contrasts[0].scan, "give the contrasts that it was trained with, in their order")
    if doubt is not None and doubt.jitters and any(c.unit == "hu" for c in contrasts):
        text = "other contrasts of a scan in HU mean other tissues, and no doubt"
        raise VolforgeError(text, contrasts[0].scan, "set `jitters: 0`, and take flips alone")


def _passed(
    generator: Generator, stacks: Array, passes: Sequence[Repetition], shown: Array, device: str
) -> tuple[Array, Array]:
    """Mean over the passes that count, and standard deviation over all, (S, rows, columns)."""
    settings = generator.settings
    count, sides = len(shown), stacks.shape[2:]
    mean = np.zeros((count, *sides), np.float32)
    middle, squares = np.zeros_like(mean), np.zeros_like(mean)
    plain = sum(p.counts for p in passes)
    for k, one in enumerate(passes):
        turns = AXES[settings.view] in one.axes
        seen = channels_of(turned(jittered(stacks, one.jitter), one.axes, settings.view), settings.context)
        made = np.full(mean.shape, OUTSIDE, np.float32)
        chosen = np.flatnonzero(shown[::-1] if turns else shown)
        made[chosen] = _seen(generator, seen, chosen, device)
        made = turned(made, one.axes, settings.view)
        if one.counts:
            mean += made / np.float32(plain) if plain > 1 else made
        apart = made - middle  # Welford: no sum of squares that swallows a small spread
        middle += apart / np.float32(k + 1)
        squares += apart * (made - middle)
    return mean, np.sqrt(squares / np.float32(max(1, len(passes) - 1)))


def _seen(generator: Generator, images: Array, chosen: Array, device: str) -> Array:
    """What the network makes of chosen slices, padded to its divisor and cut again; (n, rows, columns)."""
    import torch

    divisor = int(getattr(generator.network, "divisor", 1))
    h, w = images.shape[2:]
    pads = ((0, 0), (0, 0), (0, -h % divisor), (0, -w % divisor))
    batch = max(1, PIXELS // ((h + pads[2][1]) * (w + pads[3][1])))
    found = np.empty((len(chosen), h, w), np.float32)
    with torch.inference_mode():
        for k in range(0, len(chosen), batch):
            part = np.pad(images[chosen[k : k + batch]], pads, constant_values=OUTSIDE)
            made = generator.network(torch.from_numpy(part).to(device))
            found[k : k + batch] = made[:, 0, :h, :w].float().cpu().numpy()
    if not np.isfinite(found).all():
        text = "the network gives values that are not finite"
        raise VolforgeError(text, str(generator.folder), "look at its history.tsv: the training may have diverged")
    return np.clip(found, -1, 1)


def _in_unit(generator: Generator, values: Array) -> Array:
    """A slab in HU or percent: -1 is the lower end of the window, 1 the upper one."""
    low, high = generator.settings.window
    unit = np.clip(np.float32(low) + (values + 1) * np.float32((high - low) / 2), low, high)
    return np.rint(unit).astype(np.int16) if generator.settings.is_hounsfield else np.asarray(unit)


def _of_spread(generator: Generator, spread: Array, here: Array) -> Array:
    low, high = generator.settings.window
    return np.where(here, in_steps(spread * np.float32((high - low) / 2)), np.float32(0))


def _read_slab(kept: Path | None, first: int) -> tuple[Array, ...] | None:
    file = kept / f"{first}.npz" if kept is not None else None
    if file is None or not file.exists():
        return None
    with np.load(file, allow_pickle=False) as content:
        return tuple(content[name] for name in sorted(content.files))


def _keep_slab(kept: Path | None, first: int, made: tuple[Array, ...]) -> None:
    if kept is None:
        return
    kept.mkdir(parents=True, exist_ok=True)
    buffer = BytesIO()
    np.savez(buffer, *made)
    write_whole(kept / f"{first}.npz", buffer.getvalue())
