"""What is wrong with the models of a study of implants, before anything runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from volforge.tasks.implant.options import ImplantModel, ImplantOptions, Kriging
from volforge.tasks.protocol import ModelOptions, Places, Problem, ResolvedStudy, Training, components

DEFAULT_LOSS, OF_VALUES = {"name": "dice_ce"}, {"name": "value_mse"}
VALUE_NETWORKS = ("cranial_autoencoder",)
UNREAD = ("kind", "structures", "recipe", "region", "dilate_mm")
UNREAD_TRAINING = ("patches", "centred_on")
SMALL_GRIDS = (*VALUE_NETWORKS, "c2f_n1", "c2f_n2")
"""Their codes are a few voxels wide. On CPU the bfloat16 gradient of a convolution whose kernel is wider than its grid
reads memory that nobody wrote (seen with torch 2.13): it differs from run to run, by any amount."""
SAME = ("cap_mm", "margin_mm", "field")


def implant_of(options: ModelOptions) -> ImplantOptions:
    """What a model predicts, and how it sees a skull."""
    assert isinstance(options, ImplantModel)
    return options.implant or ImplantOptions()


def is_kriged(options: ModelOptions) -> bool:
    """Whether a model is fitted, not trained."""
    return isinstance(options, ImplantModel) and options.kriging is not None


def own_reads_kriged(options: ModelOptions) -> bool:
    """Whether a channel of a model holds the kriged skull."""
    own = implant_of(options)
    return own.sees == "windows" and "kriged" in own.channels


def loss_of(options: ModelOptions) -> dict[str, Any]:
    """Name and keywords of a model's loss; where none is named, that of the network's kind."""
    if options.loss is not None:
        return options.loss.spec
    gives_values = options.network is not None and options.network.name in VALUE_NETWORKS
    return dict(OF_VALUES if gives_values else DEFAULT_LOSS)


def implant_settings(study: ResolvedStudy, arm: str, model: str) -> dict[str, Any]:
    """Content of `<model>.train.json`; see `volforge.tasks.implant.settings`."""
    options = study.models_of(arm)[model]
    if isinstance(options, ImplantModel) and options.kriging is not None:
        return {"kind": "kriging", "kriging": options.kriging.plain()}
    assert options.network is not None
    own = implant_of(options)
    return {
        "kind": "implant",
        "implant": own.plain(),
        "needs": list(options.needs or []),
        "network": options.network.spec,
        "loss": loss_of(options),
        "training": study.training_of(arm, model).model_dump(),
    }


def problems(loaded: Places, study: ResolvedStudy, arm: str, model: str) -> Iterator[Problem]:
    """What is wrong with a model."""
    options, keys = study.models_of(arm)[model], study.model_keys(arm, model)
    if isinstance(options, ImplantModel) and options.kriging is not None:
        yield from _of_kriging(loaded, study, arm, model, options.kriging)
        return
    own = implant_of(options)
    key, fault = own.wrong()
    if fault:
        yield loaded.problem((*keys, "implant", key), fault, "see docs/implant-training.md", str(getattr(own, key)))
    if options.network is None:
        yield loaded.problem(keys, "a model needs a network", "add `network: cranial_autoencoder` or `residual_unet`")
    for key in UNREAD:
        if getattr(options, key) is not None:
            yield loaded.problem((*keys, key), "has no meaning for an implant", "leave it out", key)
    yield from _of_training(loaded, keys, options, own)
    yield from _of_loss(loaded, keys, options, own)
    yield from _of_needs(loaded, study, arm, model, keys, own)


def _of_kriging(loaded: Places, study: ResolvedStudy, arm: str, model: str, own: Kriging) -> Iterator[Problem]:
    """A fitted model reads no other key, of its own or of the study's defaults."""
    keys = study.model_keys(arm, model)
    key, fault = own.wrong()
    if fault:
        yield loaded.problem((*keys, "kriging", key), fault, "see docs/implants.md", str(getattr(own, key)))
    said = study.settings.arms[arm].models[model] if arm in study.settings.arms else study.settings.shared[model]
    for other in sorted(said.model_fields_set - {"kriging"}):
        text = "has no meaning for a model with `kriging`, which is fitted and not trained"
        yield loaded.problem((*keys, other), text, "leave it out", other)


def _of_training(
    loaded: Places, keys: tuple[str, ...], options: ModelOptions, own: ImplantOptions
) -> Iterator[Problem]:
    training = options.training or Training()
    place = (*keys, "training")
    for key in UNREAD_TRAINING:
        if key in training.model_fields_set:
            yield loaded.problem((*place, key), "has no meaning for an implant", "leave it out", key)
    if own.sees in ("patches", "windows") and training.patch is None:
        yield loaded.problem(keys, f"`sees: {own.sees}` needs the size of a patch", "add `training: {patch: [...]}`")
    if own.sees in ("cap", "box") and training.patch is not None:
        text = f"`sees: {own.sees}` sees its whole grid"
        yield loaded.problem((*place, "patch"), text, "leave it out, and set `implant.grid`", str(training.patch))
    if set(training.flip) - {"x"}:
        text = "a head is not flipped upside down, nor back to front"
        yield loaded.problem((*place, "flip"), text, "use `flip: [x]` or none", str(training.flip))
    network = options.network.name if options.network is not None else ""
    if network in SMALL_GRIDS and training.precision != "32-true" and training.accelerator == "cpu":
        text = f"on CPU the gradients of {network} are not reproducible in 16 bit"
        yield loaded.problem((*place, "precision"), text, "use 32-true, or a GPU", training.precision)
    if training.augmentation == "published":
        text = "implants were published without augmentation"
        yield loaded.problem((*place, "augmentation"), text, "use none, light or standard", training.augmentation)


def _of_loss(loaded: Places, keys: tuple[str, ...], options: ModelOptions, own: ImplantOptions) -> Iterator[Problem]:
    loss = loss_of(options)
    if components.check("loss", loss) or options.network is None:
        return  # said already
    of_values, gives_values = loss["name"].startswith("value_"), options.network.name in VALUE_NETWORKS
    are_ours = options.network.name in components.NAMES["network"] and loss["name"] in components.NAMES["loss"]
    if are_ours and of_values != gives_values:
        text = f"the network gives {'values' if gives_values else 'logits'}, which this loss does not read"
        remedy = "use a loss `value_...`" if gives_values else "use a loss such as dice_ce or dice_boundary"
        yield loaded.problem((*keys, "loss"), text, remedy, loss["name"])
    if own.threshold != 0.5 and not gives_values:
        text = "logits have no threshold but one half"
        yield loaded.problem((*keys, "implant", "threshold"), text, "leave it out", f"{own.threshold:g}")


def _of_needs(
    loaded: Places, study: ResolvedStudy, arm: str, model: str, keys: tuple[str, ...], own: ImplantOptions
) -> Iterator[Problem]:
    words = needs_of(study, arm, model)
    fitted = [w for w, options in words.items() if is_kriged(options)]
    others = [w for w in words if w not in fitted]
    if own.sees in ("cap", "patches") and words:
        text = f"`sees: {own.sees}` reads no other model"
        yield loaded.problem((*keys, "needs"), text, "leave it out", next(iter(words)))
        return
    wanted = ("kriged" in own.channels and own.sees == "windows", own.sees == "box" or "coarse" in own.channels)
    kinds = (("fitted", "a model with `kriging`", fitted), ("coarse", "`[coarse]`", others))
    if own.sees in ("box", "windows"):
        for wants, (kind, remedy, found) in zip(wanted, kinds, strict=True):
            if wants and len(found) != 1:
                yield loaded.problem(keys, f"`sees: {own.sees}` needs one {kind} model", f"add to `needs` {remedy}")
            if not wants and found:
                text = f"no channel of it reads a {kind} model"
                yield loaded.problem((*keys, "needs"), text, "leave it out", found[0])


def needs_of(study: ResolvedStudy, arm: str, model: str) -> dict[str, ModelOptions]:
    """Options of the models of this study that a model needs, by the words of the configuration."""
    found: dict[str, ModelOptions] = {}
    for word in study.models_of(arm)[model].needs or []:
        *place, name = word.split("/")
        options = study.models_of(place[-1] if place else arm).get(name)
        if options is not None and len(place) < 2:
            found[word] = options
        else:  # of another study: a network, as far as can be seen here
            found[word] = ImplantModel()
    return found


def may_need(options: ModelOptions, needed: ModelOptions) -> str:
    """Why a model may not need another one; empty where it may."""
    if not isinstance(needed, ImplantModel):
        return "it is no model of implants"
    if is_kriged(needed):
        reads = own_reads_kriged(options)
        return "" if reads else "no channel reads a fitted model: add `kriged` to `channels`"
    other, own = implant_of(needed), implant_of(options)
    if other.sees != "cap":
        return "only one that sees the whole cap can be needed"
    differing = [key for key in SAME if getattr(own, key) != getattr(other, key)]
    return f"its {differing[0]} is another one" if differing else ""
