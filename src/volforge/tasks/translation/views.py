"""The models of an arm as one: each translates a scan along its own axis, and what they say is joined."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from volforge import components
from volforge.errors import VolforgeError
from volforge.tasks.translation.apply import Generator, load_generator, translated
from volforge.tasks.translation.canvas import Contrast
from volforge.tasks.translation.doubt import Doubt, pooled
from volforge.tasks.translation.fuse import check_fusion, fused
from volforge.tasks.translation.progress import Progress
from volforge.volume.geometry import Array

LARGE = 2**23  # voxels of a scan from which on its slabs are kept until it is whole


@dataclass(frozen=True)
class Image:
    """A translated scan, on its own grid.

    Attributes:
        values: (X, Y, Z), as `volforge.tasks.translation.apply.translated`.
        deviation: float32 in the same unit, or None.
        views: The image of each model by the name of its view; empty where there is one model.
        raw: The image before the body is laid on it, where it is asked for.
    """

    values: Array
    deviation: Array | None
    views: Mapping[str, Array]
    raw: Array | None = None


@dataclass(frozen=True)
class Views:
    """Models that see the same contrasts and make the same target.

    Attributes:
        generators: By name: the view, or the model's own name where two have the same view.
        fuse: `median` or `mean`.
        flips: Axes whose flips are averaged.
        doubt: Repetitions for the deviation, or None.
        device: Where they run.
    """

    generators: Mapping[str, Generator]
    fuse: str = "median"
    flips: tuple[str, ...] = ()
    doubt: Doubt | None = None
    device: str = "cpu"

    @classmethod
    def load(cls, folders: Mapping[str, Path], device: str = "cpu", **options: Any) -> Views:
        """Load models.

        Args:
            folders: Folder of each by name.
            device: Where they run.
            options: `fuse`, `flips`, `doubt`.

        Raises:
            VolforgeError: No model; files that cannot be used; models that do not go together; a doubt of nothing;
                another way to join.
        """
        check_fusion(str(options.get("fuse", "median")))
        loaded = {name: load_generator(folder, device) for name, folder in folders.items()}
        if not loaded:
            raise VolforgeError("no model of translation", "", "name at least one")
        axes = [g.settings.view for g in loaded.values()]
        is_unique = len(set(axes)) == len(axes)
        found = cls({g.settings.view if is_unique else n: g for n, g in loaded.items()}, device=device, **options)
        first = found.first.settings
        for g in loaded.values():
            own = g.settings
            if (own.source, own.target, own.also) != (first.source, first.target, first.also):
                text = "models of other contrasts or another target cannot be joined"
                raise VolforgeError(text, str(g.folder), "name models of one arm")
            if g.about.get("import") != found.first.about.get("import"):
                text = "models of cohorts that were imported in another way (background, body mask) cannot be joined"
                raise VolforgeError(text, str(g.folder), "name models of one cohort")
        no_doubt = found.doubt is not None and not found.doubt.flips and not found.doubt.jitters
        if no_doubt and len(loaded) == 1:
            text = "a doubt without flips, jitters or several views would be 0 everywhere"
            raise VolforgeError(text, str(found.first.folder), "set `doubt: {flips: true}`, or leave it out")
        return found

    @property
    def first(self) -> Generator:
        """The first of the models."""
        return next(iter(self.generators.values()))

    def plain(self) -> dict[str, Any]:
        """All that an image depends on beside the scan, as plain values."""
        return {
            "models": {
                name: [g.about["sha256"], components.file_hash("network", g.settings.network), g.about]
                for name, g in self.generators.items()
            },
            "fuse": self.fuse,
            "flips": list(self.flips),
            "doubt": None if self.doubt is None else [self.doubt.flips, self.doubt.jitters, self.doubt.joins],
            "device": self.device,
        }

    def __call__(
        self, contrasts: Sequence[Contrast], slabs: Callable[[str], Path] | None = None, *, raw: bool = False
    ) -> Image:
        """Translate a scan.

        Args:
            contrasts: The source and the further contrasts.
            slabs: Folder for finished slabs of a model, by its name; used for large scans alone.
            raw: Whether the image before the body is laid on it is wanted too.

        Raises:
            VolforgeError: As `translated`.
        """
        images, deviations, before = {}, [], []
        own = self.first
        kind = np.int16 if own.settings.is_hounsfield else np.float32
        is_large = contrasts[0].image.size >= LARGE
        for name, generator in self.generators.items():
            kept = slabs(name) if slabs is not None and is_large else None
            if raw:
                before.append(np.full(contrasts[0].grid.shape, own.outside, kind, order="F"))
            images[name], deviation = translated(
                generator,
                contrasts,
                flips=self.flips,
                doubt=self.doubt,
                device=self.device,
                kept=kept,
                say=Progress(f"{contrasts[0].scan} ({name})"),
                raw=before[-1] if raw else None,
            )
            deviations.append(deviation)
        every = list(images.values())
        whole = fused(before, self.fuse) if raw else None
        if len(every) == 1:
            return Image(every[0], deviations[0], {}, whole)
        deviation = pooled(every, deviations) if self.doubt is not None else None
        return Image(fused(every, self.fuse), deviation, images, whole)
