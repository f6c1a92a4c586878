"""Compressed chunked arrays on disk: one slice is one chunk, read alone and fast (blosc2, as nnU-Net v2 does)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from volforge.volume.geometry import Array


def write_array(path: Path, array: Array, chunks: tuple[int, ...]) -> None:
    """Write an array as a `.b2nd` file; the same bytes for the same values.

    Args:
        path: Target; must not exist.
        array: Any integer or float array.
        chunks: Shape of what is compressed and read together.
    """
    blosc2 = _single_threaded()
    blosc2.asarray(
        np.ascontiguousarray(array),
        chunks=chunks,
        blocks=chunks,
        urlpath=str(path),
        mode="w",
        contiguous=True,
        cparams=blosc2.CParams(
            codec=blosc2.Codec.LZ4,
            clevel=1,
            filters=[blosc2.Filter.SHUFFLE],
            typesize=array.dtype.itemsize,
            nthreads=1,
        ),
    )


def open_array(path: Path) -> Any:
    """Open a `.b2nd` file for reading; index it as an array. One decompression thread: loaders are many."""
    blosc2 = _single_threaded()
    return blosc2.open(str(path), mode="r", dparams=blosc2.DParams(nthreads=1))


def _single_threaded() -> Any:
    """The library blosc2 with one thread.

    Its parameter alone (`nthreads=1`) still waits for the pool at every chunk that is written: up to ten times as long
    on a busy machine. And what it would read with is kept in the file: the bytes would differ with the number of cores.
    """
    os.environ["BLOSC_NTHREADS"] = "1"  # looked up at every call
    import blosc2

    return blosc2


class SliceStore:
    """The folder that a recipe makes of a scan.

    Attributes:
        geometry: Content of `geometry.json`.
        names: Arrays at hand, of image, labels, body, defective, implant.
    """

    def __init__(self, folder: Path):
        from volforge.volume.folders import read_json

        self.folder = folder
        self.geometry: dict[str, Any] = read_json(folder / "geometry.json")
        self.names = [p.stem for p in sorted(folder.glob("*.b2nd"))]
        self._open: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        """The array of this name; slicing it reads only what is asked."""
        if name not in self._open:
            self._open[name] = open_array(self.folder / f"{name}.b2nd")
        return self._open[name]

    def normalised(self, key: Any) -> Array:
        """Image values as float32 in [-1, 1] by the recipe's window; `key` indexes slices or a region."""
        return normalise(np.asarray(self["image"][key]), self.geometry["values"])


def normalise(stored: Array, values: dict[str, Any]) -> Array:
    """Stored image values as float32 in [-1, 1] by the window that `geometry.json` keeps as `values`."""
    unit = stored.astype(np.float32) * np.float32(values["slope"]) + np.float32(values["intercept"])
    low, high = values["low"], values["high"]
    return np.clip((unit - low) * np.float32(2 / (high - low)) - 1, -1, 1)
