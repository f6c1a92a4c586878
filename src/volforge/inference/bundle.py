"""A trained model as a MONAI bundle, which `monai.bundle`, MONAI Label and 3D Slicer run without volforge."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from volforge.errors import VolforgeError
from volforge.inference.model import load_model
from volforge.volume.folders import read_object, whole_folder, write_json
from volforge.whole_file import refuse_folder


def export_bundle(weights: Path, out: Path) -> Path:
    """Write a bundle: configs/metadata.json, configs/inference.json, models/model.ts, docs/README.md.

    The network is traced at its patch size, so that the bundle needs torch and MONAI only. Orientation, voxel size,
    window, sliding windows and the way back are MONAI's. Run it by
    `python -m monai.bundle run --config_file configs/inference.json --bundle_root .` in its folder.

    Args:
        weights: Folder of a trained model.
        out: Folder to write.

    Raises:
        VolforgeError: The model looks into boxes about joints, or is a localiser: a bundle has no localiser. It is no
            model of segmentation.
    """
    refuse_folder("--out", out, {"--weights": weights})
    about = read_object(weights / "model.json", "the description of a model")
    if "classes" not in about:
        text = f"models of {about.get('task') or 'other tasks'} are not exported: a bundle makes label maps"
        raise VolforgeError(text, str(weights), "use `volforge model predict`, or load weights.safetensors by hand")
    model = load_model(weights)
    settings = model.settings
    if settings.region is not None or settings.kind == "localiser":
        raise VolforgeError(
            "a bundle sees the whole scan, and this model needs boxes about joints (or finds them)",
            str(weights),
            "export a model without `region`, or use `volforge model predict`",
        )
    patch = list(model.about["patch"])
    network = model.network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    with torch.no_grad():
        traced = torch.jit.trace(network, torch.zeros(1, 1, *patch), check_trace=False)
    with whole_folder(out) as folder:
        for name in ("configs", "models", "docs"):
            (folder / name).mkdir()
        torch.jit.save(traced, str(folder / "models" / "model.ts"))
        write_json(folder / "configs" / "metadata.json", _metadata(model.about, patch))
        write_json(folder / "configs" / "inference.json", _inference(model.about, patch))
        (folder / "docs" / "README.md").write_text(_readme(model.about), encoding="utf-8")
    return out


def _classes(about: Any) -> list[tuple[str, int]]:
    return [
        (c["structure"] + (f"_{c['side']}" if c["side"] else ""), next(iter(c["ids"].values())))
        for c in about["classes"]
    ]


def _window(about: Any) -> dict[str, Any]:
    """The recipe's window as MONAI's transform. Percentiles are of the whole image, where ours are of the body."""
    recipe = about["recipe_settings"]
    window = recipe["ct_window"] if about["import"]["unit"] == "hu" else recipe["mr_window"]
    if window["kind"] == "hu":
        return {
            "_target_": "ScaleIntensityRanged", "keys": "image", "a_min": window["low"], "a_max": window["high"],
            "b_min": -1.0, "b_max": 1.0, "clip": True,
        }  # fmt: skip
    return {
        "_target_": "ScaleIntensityRangePercentilesd", "keys": "image", "lower": window["low"],
        "upper": window["high"], "b_min": -1.0, "b_max": 1.0, "clip": True,
    }  # fmt: skip


def _inference(about: Any, patch: list[int]) -> dict[str, Any]:
    spacing = about["recipe_settings"]["spacing_mm"]
    ids = [i for _, i in _classes(about)]
    steps: list[dict[str, Any]] = [
        {"_target_": "LoadImaged", "keys": "image"},
        {"_target_": "EnsureChannelFirstd", "keys": "image"},
        {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"},
    ]
    if spacing is not None:
        steps.append({"_target_": "Spacingd", "keys": "image", "pixdim": list(spacing), "mode": "bilinear"})
    steps += [_window(about), {"_target_": "EnsureTyped", "keys": "image", "dtype": "$torch.float32"}]
    after: list[dict[str, Any]] = [
        {"_target_": "Activationsd", "keys": "pred", "softmax": True},
        {
            "_target_": "Invertd", "keys": "pred", "transform": "@preprocessing", "orig_keys": "image",
            "nearest_interp": False, "to_tensor": True,
        },
        {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
        {
            "_target_": "MapLabelValued", "keys": "pred", "orig_labels": list(range(len(ids) + 1)),
            "target_labels": [0, *ids], "dtype": "$numpy.uint8" if max(ids) < 256 else "$numpy.uint16",
        },
        {"_target_": "SaveImaged", "keys": "pred", "output_dir": "@output_dir", "output_postfix": "labels"},
    ]  # fmt: skip
    return {
        "imports": ["$import glob", "$import numpy", "$import torch", "$import monai"],
        "bundle_root": ".",
        "dataset_dir": "$@bundle_root + '/images'",
        "output_dir": "$@bundle_root + '/eval'",
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "datalist": "$sorted(glob.glob(@dataset_dir + '/*.nii*'))",
        "network_def": "$torch.jit.load(@bundle_root + '/models/model.ts', map_location=@device)",
        "network": "$@network_def.eval()",
        "preprocessing": {"_target_": "Compose", "transforms": steps},
        "dataset": {
            "_target_": "Dataset",
            "data": "$[{'image': p} for p in @datalist]",
            "transform": "@preprocessing",
        },
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1, "num_workers": 0},
        "inferer": {
            "_target_": "SlidingWindowInferer", "roi_size": patch, "sw_batch_size": 1, "overlap": 0.5,
            "mode": "gaussian", "cval": -1.0,
        },
        "postprocessing": {"_target_": "Compose", "transforms": after},
        "predict": "$torch.inference_mode()(lambda b: {**b, 'pred': @inferer(b['image'].to(@device), @network)})",
        "run": [
            "$[[@postprocessing(d) for d in monai.data.decollate_batch(@predict(b))] for b in @dataloader]",
        ],
    }  # fmt: skip


def _metadata(about: Any, patch: list[int]) -> dict[str, Any]:
    names = [name for name, _ in _classes(about)]
    channel = {"0": "background"} | {str(k + 1): n for k, n in enumerate(names)}
    return {
        "schema": "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20220324.json",
        "version": "0.1.0",
        "changelog": {"0.1.0": "exported by volforge"},
        "monai_version": version("monai"),
        "pytorch_version": version("torch").split("+")[0],
        "numpy_version": np.__version__,
        "required_packages_version": {"nibabel": version("nibabel")},
        "task": f"segmentation of {', '.join(names)}",
        "description": f"{about['network']['name']} of the study {about['study']}, arm {about['arm']}",
        "authors": "",
        "copyright": "",
        "data_type": "nibabel",
        "intended_use": "research only",
        "eval_metrics": about["expected"],
        "network_data_format": {
            "inputs": {
                "image": {
                    "type": "image", "format": "magnitude", "modality": about["import"]["modality"], "num_channels": 1,
                    "spatial_shape": patch, "dtype": "float32", "value_range": [-1, 1], "is_patch_data": True,
                    "channel_def": {"0": "image"},
                }
            },
            "outputs": {
                "pred": {
                    "type": "image", "format": "segmentation", "num_channels": len(channel), "spatial_shape": patch,
                    "dtype": "float32", "value_range": [], "is_patch_data": True, "channel_def": channel,
                }
            },
        },
    }  # fmt: skip


def _readme(about: Any) -> str:
    return (
        f"# {about['study']}, {about['arm']}\n\nExported by volforge; research only. Put NIfTI files into `images/` "
        "and run (needs the package fire)\n\n"
        "    python -m monai.bundle run --config_file configs/inference.json --bundle_root .\n\n"
        "Label maps on the grids of the images appear in `eval/`. The body mask, flips and the choice of components of "
        "`volforge model predict` are left out; percentiles of a window are of the whole image.\n"
    )
