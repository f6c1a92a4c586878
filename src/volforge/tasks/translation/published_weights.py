"""Published PyTorch weights as a model of ours, where a user has the files.

Two layouts are known. *CycleGAN* (generators and discriminators of Ge et al., and of whoever trained with that code):
`model.<layer>.weight`, layers numbered as in `ResnetGenerator` and `PatchDiscriminator`, `conv_block` for the layers of
a residual block. *U-Net* (the shape extractor): `inc`, `down1` to `down4`, `up1` to `up4`, `outc`, in the spelling of
2018 or the later one. A leading `module.` (of training on several GPUs) is left out. Running statistics of instance
norms, which that code kept and never used, are too.

Nothing of a file is run, and what does not fit is refused by name. The names are those that public programs for such
files use; no published file was at hand. The published extractor takes three equal channels with values 0 to 1.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from volforge.errors import VolforgeError

if TYPE_CHECKING:
    from torch import Tensor, nn

PARTS = ("generator", "discriminator", "extractor")
KINDS = {"generator": "translation", "discriminator": "discriminator", "extractor": "shape_extractor"}
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
SHOWN = 4  # keys that a message names
SIZE = [256, 256]
WINDOW_HU = (-1000.0, 1400.0)
WINDOW_MR = (0.0, 400.0)
UNET = re.compile(
    r"(?:inc|down(?P<down>[1-4])|up(?P<up>[1-4]))\."
    r"(?:mpconv\.1\.|maxpool_conv\.1\.|conv\.(?=(?:conv|double_conv)\.))?(?:conv|double_conv)\.(?P<rest>[0-5]\.\w+)"
)


@dataclass(frozen=True)
class Published:
    """A network that was published, as one of ours.

    Attributes:
        part: `generator`, `discriminator` or `extractor`.
        spec: Name and keywords of the network.
        given: `channels`, and `outputs` of a generator.
        state: Its weights by our names, float32.
    """

    part: str
    spec: Mapping[str, Any]
    given: Mapping[str, int]
    state: Mapping[str, Tensor]

    def network(self) -> nn.Module:
        """The network with these weights, in eval mode."""
        from volforge import components

        made: nn.Module = components.build("network", self.spec, **self.given)
        made.load_state_dict(dict(self.state))
        return made.eval()


def from_published(state: Mapping[str, Tensor], part: str, where: str = "") -> Published:
    """A published state dict by our names; its width, blocks and channels are read off its shapes.

    Args:
        state: Tensors by published names.
        part: `generator`, `discriminator` or `extractor`.
        where: The file, for messages.

    Raises:
        VolforgeError: An unknown part; keys that are missing or of no known layer; shapes that do not follow from each
            other; values that are not finite.
    """
    import torch

    if part not in PARTS:
        raise VolforgeError(f"unknown part '{part}'", where, f"use one of {', '.join(PARTS)}")
    plain = {k.removeprefix("module."): v for k, v in state.items()}
    if len(plain) != len(state):
        raise VolforgeError("two keys differ by `module.` alone", where, "name a file of one network")
    renamed = {_extractor_key(k, where) if part == "extractor" else _key(k): v for k, v in plain.items()}
    if len(renamed) != len(plain):
        raise VolforgeError("two keys stand for one weight", where, "name a file of one network")
    spec, given = _READERS[part](renamed, where)
    wanted = _shapes(spec, given, where)
    if part == "extractor":  # files of PyTorch before 0.4.1 have no counts
        counts = {k: torch.zeros((), dtype=torch.int64) for k in wanted if k.endswith("num_batches_tracked")}
        renamed = {**counts, **renamed}
    else:
        renamed = {k: v for k, v in renamed.items() if k in wanted or not _is_idle(k, wanted)}
    _refuse_others(renamed, wanted, part, where)
    found = {k: v.detach().float().contiguous() if v.is_floating_point() else v for k, v in renamed.items()}
    broken = [k for k, v in found.items() if not bool(torch.isfinite(v).all())]
    if broken:
        raise VolforgeError(f"values that are not finite: {_named(broken)}", where, "get the file anew")
    return Published(part, spec, given, {k: found[k] for k in wanted})


def read_published(path: Path, part: str) -> Published:
    """A published `.pth` file; only tensors are read.

    Args:
        path: As `torch.save` wrote a state dict, old or new format.
        part: `generator`, `discriminator` or `extractor`.

    Raises:
        VolforgeError: The file cannot be read, holds more than tensors, or another network.
    """
    from volforge.weights import load_state

    if not path.is_file():
        raise VolforgeError("file not found", str(path), "check the path")
    return from_published(load_state(path), part, str(path))


def import_published(
    path: Path,
    part: str,
    out: Path,
    settings: Mapping[str, Any] | None = None,
    say: Callable[[str], None] = print,
) -> Published:
    """Make a model's folder of a published file; it appears whole.

    `model.json` has the settings of a trained model (the published windows: -1000 to 1400 HU, raw greys of MR from 0 to
    400; axial slices of 256 x 256, whose pixel size no publication gives), `channels`, `outputs`, `parameters`,
    `step` 0, no subjects, and `imported`: file, SHA-256, part.

    Args:
        path: `.pth`.
        part: `generator`, `discriminator` or `extractor`.
        out: Folder to write.
        settings: What is known otherwise: `source`, `target`, `recipe_settings` ...
        say: Told what was made.

    Returns:
        What was written.

    Raises:
        VolforgeError: As `read_published`; a setting that is read off the weights and contradicted; a folder that
            cannot be written.
    """
    from volforge.training.imported import write_imported

    made = read_published(path, part)
    content = {**_settings(made), **(settings or {})}
    if dict(content["network"]) != dict(made.spec) or content["kind"] != KINDS[part]:
        text = f"the file holds the network {dict(made.spec)} of the kind {KINDS[part]}"
        raise VolforgeError(text, str(path), "leave `network` and `kind` out")
    about = {**content, **made.given, "size": content["recipe_settings"]["size"]}
    write_imported(out, path, part, made.state, made.network(), about)
    say(str(out))
    return made


def _settings(made: Published) -> dict[str, Any]:
    """Settings of a model that was trained elsewhere: what the publications say."""
    from volforge.config.models import HuWindow, SliceRecipe

    window = HuWindow(kind="hu", low=WINDOW_HU[0], high=WINDOW_HU[1])
    greys = HuWindow(kind="hu", low=WINDOW_MR[0], high=WINDOW_MR[1])  # fixed, in the raw greys of their scanner
    recipe = SliceRecipe(kind="slices", size=SIZE, ct_window=window, mr_window=greys)
    return {
        "study": "published", "arm": "published", "model": made.part, "cohort": "", "by_fold": False,
        "kind": KINDS[made.part], "recipe": "axial",
        "recipe_settings": recipe.model_dump(mode="json"),
        "source": {"modality": "MR", "contrast": None}, "target": {"modality": "CT", "contrast": None},
        "also": [], "context": 0, "network": dict(made.spec), "translation": {}, "training": {}, "own": "",
        "task": "translation", "entry": "",
    }  # fmt: skip


def _key(key: str) -> str:
    """Our name of a published one, of generators and discriminators."""
    return re.sub(r"^model\.(\d+)\.", r"layers.\1.", key).replace(".conv_block.", ".layers.")


def _extractor_key(key: str, where: str) -> str:
    """Our name of a published one of the U-Net."""
    if key in ("outc.conv.weight", "outc.conv.bias"):
        return key.replace("outc.conv", "head")
    found = UNET.fullmatch(key)
    if found is None:
        text = f"'{key}' is no weight of the published U-Net"
        raise VolforgeError(text, where, "name the file of a shape extractor with `inc`, `down1` ... `outc`")
    side = f"up.{int(found['up']) - 1}" if found["up"] else f"down.{int(found['down'] or 0)}"
    return f"{side}.{found['rest']}"


def _size(state: Mapping[str, Tensor], key: str, dimension: int, where: str) -> int:
    """One size of a weight that must be there as a kernel."""
    if key not in state or state[key].dim() != 4:
        layer = key.replace("layers.", "model.")
        raise VolforgeError(f"there is no kernel '{layer}'", where, "name a file of the part that is asked for")
    return int(state[key].shape[dimension])


def _read_generator(state: Mapping[str, Tensor], where: str) -> tuple[dict[str, Any], dict[str, int]]:
    blocks = {int(m[1]) for k in state if (m := re.match(r"layers\.(\d+)\.layers\.", k))}
    if not blocks:
        text = "there is no residual block"
        raise VolforgeError(text, where, "name the file of a ResNet generator (not of a U-Net or a discriminator)")
    last = f"layers.{10 + len(blocks) + 7}.weight"
    width = _size(state, "layers.1.weight", 0, where)
    spec = {"name": "resnet_generator", "width": width, "blocks": len(blocks)}
    given = {"channels": _size(state, "layers.1.weight", 1, where), "outputs": _size(state, last, 0, where)}
    return spec, given


def _read_discriminator(state: Mapping[str, Tensor], where: str) -> tuple[dict[str, Any], dict[str, int]]:
    kernels = [k for k in state if re.fullmatch(r"layers\.\d+\.weight", k) and state[k].dim() == 4]
    spec = {
        "name": "patch_discriminator",
        "width": _size(state, "layers.0.weight", 0, where),
        "layers": len(kernels) - 2,
    }
    return spec, {"channels": _size(state, "layers.0.weight", 1, where)}


def _read_extractor(state: Mapping[str, Tensor], where: str) -> tuple[dict[str, Any], dict[str, int]]:
    width, channels = (_size(state, "down.0.0.weight", d, where) for d in (0, 1))
    return {"name": "shape_unet", "width": width}, {"channels": channels}


_READERS: dict[str, Callable[[Mapping[str, Tensor], str], tuple[dict[str, Any], dict[str, int]]]] = {
    "generator": _read_generator,
    "discriminator": _read_discriminator,
    "extractor": _read_extractor,
}


def _shapes(spec: Mapping[str, Any], given: Mapping[str, int], where: str) -> dict[str, tuple[int, ...]]:
    """Shapes of our network's weights by name."""
    import torch

    from volforge import components

    try:
        with torch.device("meta"):
            network = components.build("network", spec, **given)
    except VolforgeError as error:
        raise VolforgeError(error.message, where, "name a file of the part that is asked for") from error
    return {k: tuple(v.shape) for k, v in network.state_dict().items()}


def _is_idle(key: str, wanted: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether a key is a statistic of a norm that learns nothing: of a layer behind one with weights."""
    layer, _, name = key.rpartition(".")
    above, _, number = layer.rpartition(".")
    return name in STATISTICS and number.isdigit() and f"{above}.{int(number) - 1}.weight" in wanted


def _refuse_others(state: Mapping[str, Tensor], wanted: Mapping[str, tuple[int, ...]], part: str, where: str) -> None:
    """Raise for keys that are missing or too many, and for other shapes, all in one message."""
    missing, other = [k for k in wanted if k not in state], [k for k in state if k not in wanted]
    shapes = [
        f"{k} is {tuple(state[k].shape)}, not {shape}"
        for k, shape in wanted.items()
        if k in state and tuple(state[k].shape) != shape
    ]
    texts = [
        f"{len(names)} {text}: {_named(names)}"
        for names, text in ((missing, "weights are missing"), (other, "are of no layer"), (shapes, "do not fit"))
        if names
    ]
    if texts:
        remedy = f"name the file of a published {part} without dropout, with instance norms that learn nothing"
        raise VolforgeError("; ".join(texts), where, remedy if part != "extractor" else "name another file")


def _named(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (" ..." if len(names) > SHOWN else "")
