"""The published Keras weights as a model of ours, where a user has the files.

`docs/implants-published.md` says which files were published and where. Layouts: Keras keeps kernels of convolutions
as (x, y, z, in, out), of transposed ones as (x, y, z, out, in); a transposed convolution of stride 1 with the padding
`same` is a convolution with the kernel turned around. Batch norms have gamma, beta, moving_mean, moving_variance.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from volforge.errors import VolforgeError
from volforge.volume.geometry import Array

if TYPE_CHECKING:
    from torch import Tensor

Layers = Sequence[tuple[str, Mapping[str, Array]]]
"""Layers with weights in their order: name, and arrays by role (`kernel`, `bias`, `gamma` ...)."""
DOWN, UP = 4, 5
NORMED_DOWN, NORMED_UP = (0, 1, 2), (0, 1, 2, 3)
NORM = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
CAP = {"field": "whole", "resample": "spline", "beta1": 0.5}
VARIANTS: dict[str, dict[str, Any]] = {
    "ae_mse": {"head": "tanh", "loss": {"name": "value_mse"}, "implant": CAP},
    "ae_boundary": {
        "head": "tanh", "loss": {"name": "value_boundary", "units": "voxels", "clip": 0.0},
        "implant": {**CAP, "threshold": 0.0},
    },
    "ae_dice_boundary": {
        "head": "sigmoid", "loss": {"name": "value_dice_boundary", "units": "voxels", "clip": 0.0}, "implant": CAP,
    },
    "gan": {"head": "tanh", "loss": {"name": "value_mse"}, "implant": CAP},
    "ae_patch": {
        "head": "tanh", "loss": {"name": "value_mse"},
        "implant": {"sees": "patches", "field": "whole", "beta1": 0.5}, "patch": [128, 128, 128],
    },
}  # fmt: skip


def read_keras(path: Path) -> list[tuple[str, dict[str, Array]]]:
    """Layers of a Keras HDF5 file, of `model.save` or of `save_weights`, in the order of the network.

    A network inside another one (as the published generators are) lists its trainable weights first and the others
    behind; they come together again by the names of their layers.

    Args:
        path: `.h5`.

    Raises:
        VolforgeError: h5py is not installed, or it is no such file.
    """
    try:
        import h5py
    except ImportError as error:
        raise VolforgeError(
            "reading Keras weights needs the package h5py, which volforge does not install",
            str(path),
            "pip install h5py",
        ) from error
    found: dict[str, dict[str, Array]] = {}
    try:
        with h5py.File(path, "r") as file:
            top = file.get("model_weights", file)
            for group in [_text(n) for n in top.attrs["layer_names"]]:
                for name in [_text(n) for n in top[group].attrs["weight_names"]]:
                    parts = name.split(":")[0].split("/")
                    layer = parts[-2] if len(parts) > 1 else group
                    found.setdefault(layer, {})[parts[-1]] = np.asarray(top[group][name], np.float32)
    except (OSError, KeyError) as error:
        text = f"not a Keras HDF5 file of weights: {error}"
        raise VolforgeError(text, str(path), "name a .h5 of Keras 2; files `.weights.h5` of Keras 3 differ") from error
    return list(found.items())


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


def from_keras(layers: Layers, where: str = "") -> dict[str, Tensor]:
    """The state of `cranial_autoencoder` from the layers of the published network, of whatever width.

    Args:
        layers: Four convolutions, five transposed ones, seven batch norms, in the order in which they are passed.
        where: The file, for messages.

    Returns:
        State dict, float32.

    Raises:
        VolforgeError: Other layers, or shapes that do not follow from each other.
    """
    import torch

    kernels = [(n, w) for n, w in layers if "kernel" in w]
    norms = [(n, w) for n, w in layers if "gamma" in w]
    if len(kernels) != DOWN + UP or len(norms) != len(NORMED_DOWN) + len(NORMED_UP):
        text = (
            f"{len(kernels)} layers with kernels and {len(norms)} batch norms, not the 9 and 7 of the published network"
        )
        raise VolforgeError(text, where, "name the file of a generator, not of a discriminator")
    state: dict[str, Tensor] = {}
    before = int(kernels[0][1]["kernel"].shape[-2])
    for k, (name, weights) in enumerate(kernels):
        is_down = k < DOWN
        kernel = convolution(weights["kernel"]) if is_down else turned(weights["kernel"])
        if kernel.shape[1] != before or weights["bias"].shape != kernel.shape[:1]:
            text = f"layer '{name}': kernel {weights['kernel'].shape} does not follow {before} channels"
            raise VolforgeError(text, where, "name a file of the published network")
        place = f"down.{k}" if is_down else f"up.{k - DOWN}"
        state[f"{place}.conv.weight"] = torch.from_numpy(kernel)
        state[f"{place}.conv.bias"] = torch.from_numpy(np.array(weights["bias"], np.float32))
        before = int(kernel.shape[0])
    places = [f"down.{k}.last" for k in NORMED_DOWN] + [f"up.{k}.norm" for k in NORMED_UP]
    for place, (_, weights) in zip(places, norms, strict=True):
        for role, own in NORM.items():
            state[f"{place}.{own}"] = torch.from_numpy(np.array(weights[role], np.float32))
        state[f"{place}.num_batches_tracked"] = torch.zeros((), dtype=torch.long)
    return state


def convolution(kernel: Array) -> Array:
    """(x, y, z, in, out) as (out, in, x, y, z)."""
    return np.ascontiguousarray(kernel.transpose(4, 3, 0, 1, 2), np.float32)


def turned(kernel: Array) -> Array:
    """(x, y, z, out, in) of a transposed convolution of stride 1 as the kernel of the convolution that is the same."""
    return np.ascontiguousarray(kernel[::-1, ::-1, ::-1].transpose(3, 4, 0, 1, 2), np.float32)


def import_keras(path: Path, variant: str, out: Path, say: Callable[[str], object] = print) -> None:
    """Make the folder of a trained model of a published file; it appears whole.

    Args:
        path: `.h5`.
        variant: How it was trained: `ae_mse`, `ae_boundary`, `ae_dice_boundary`, `gan` (its generator) or `ae_patch`.
        out: Folder to write.
        say: Told what was made.

    Raises:
        VolforgeError: Unknown variant, or another file.
    """
    if variant not in VARIANTS:
        raise VolforgeError(f"unknown variant '{variant}'", "", f"use one of {', '.join(VARIANTS)}")
    write_imported(from_keras(read_keras(path), str(path)), variant, out, path)
    say(str(out))


def write_imported(state: Mapping[str, Tensor], variant: str, out: Path, source: Path) -> None:
    """Write a model's folder of a state: weights.safetensors and a model.json that says where it is from."""
    from dataclasses import asdict

    from safetensors.torch import save

    from volforge.config.training import Training
    from volforge.tasks.implant.apply import make_network
    from volforge.tasks.implant.options import ImplantOptions
    from volforge.tasks.implant.settings import ImplantSettings
    from volforge.training.trained_files import versions, write_files
    from volforge.volume.folders import sha256_of, whole_folder, write_json

    own = VARIANTS[variant]
    first = state["down.0.conv.weight"]
    training = Training(optimizer="adam", rate=2e-4, schedule="constant", augmentation="none", patch=own.get("patch"))
    settings = ImplantSettings.of(
        {
            "study": "published", "arm": variant, "model": variant, "cohort": "", "by_fold": False, "kind": "implant",
            "implant": ImplantOptions(**own["implant"]).plain(), "needs": [],
            "network": {"name": "cranial_autoencoder", "width": int(first.shape[0]), "head": own["head"]},
            "loss": own["loss"], "training": training.model_dump(), "task": "implant",
            "entry": "volforge.tasks.implant.train:train",
        }
    )  # fmt: skip
    network = make_network(settings)
    network.load_state_dict(dict(state))
    with whole_folder(out) as folder:
        cost = {"device_hours": 0.0, "seconds": 0.0, "peak_memory_gib": 0.0, "device": "", "threads": 0}
        digest = write_files(folder, save({k: v.contiguous() for k, v in state.items()}), [], cost)
        content = {
            **asdict(settings),
            "patch": list(settings.patch),
            "parameters": sum(p.numel() for p in network.parameters()),
            "step": 0,
            "steps": 0,
            "expected": {},
            "subjects": {},
            "imported": {"file": source.name, "sha256": sha256_of(source), "variant": variant},
            "sha256": digest,
            "versions": versions(),
        }
        write_json(folder / "model.json", content)
