"""Folders of models of translation, without a training."""

import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save_file

from tests.conftest import ROOT
from volforge.config.models import SliceRecipe
from volforge.tasks.translation.generator import make_generator
from volforge.tasks.translation.settings import TranslationSettings
from volforge.volume.folders import sha256_of, write_json

TOYS = "tests/tasks/translation/toys.py"
MR = {"modality": "MR", "contrast": None}
CT = {"modality": "CT", "contrast": None}
WINDOW = {"kind": "hu", "low": -1000, "high": 1400}


def settings(network="Same", *, source=MR, target=CT, also=(), context=0, recipe=None, **keywords):
    cut = {"kind": "slices", "ct_window": WINDOW, **(recipe or {})}
    return TranslationSettings.of(
        {
            "study": "s", "arm": "a", "model": "m", "cohort": "c", "by_fold": False, "kind": "translation",
            "recipe": "slices", "recipe_settings": json.loads(SliceRecipe(**cut).model_dump_json()),
            "source": source, "target": target, "also": list(also), "context": context,
            "network": {"name": f"{ROOT / TOYS}:{network}" if network in TOY_NAMES else network, **keywords},
            "translation": {"method": "painted"}, "training": {}, "task": "translation",
        }
    )  # fmt: skip


TOY_NAMES = ("Same", "Constant", "Channel", "Sided", "Small")


def model_in(folder: Path, network="Same", *, seed=0, **keywords) -> Path:
    """Write the folder of a model; keywords are those of `settings`."""
    own = settings(network, **keywords)
    torch.manual_seed(seed)
    made = make_generator(own)
    folder.mkdir(parents=True)
    save_file(made.state_dict(), folder / "weights.safetensors")
    about = {**asdict(own), "channels": own.channels, "step": 7, "sha256": sha256_of(folder / "weights.safetensors")}
    write_json(folder / "model.json", about)
    return folder
