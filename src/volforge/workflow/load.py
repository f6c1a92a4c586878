"""Reading configuration files: merged as Snakemake merges them, each value with its file, line and column."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from volforge.config.scalars import kind_of, misread_key, misread_value, why_no_number
from volforge.errors import Problem, VolforgeError
from volforge.tasks import registry
from volforge.text_lines import content_of
from volforge.workflow.configuration import Configuration
from volforge.workflow.yaml_limits import MOST_BYTES, excess_of

Keys = tuple[str | int, ...]
MERGE = "tag:yaml.org,2002:merge"  # of the key `<<`


@dataclass(frozen=True)
class Place:
    """Where a value stands: a file (as given), 1-based line and column."""

    file: str
    line: int
    column: int


@dataclass
class Loaded:
    """A configuration that was read.

    Attributes:
        values: The merged plain values.
        places: Place of every key path that a file sets.
        texts: Unquoted values that are no text for YAML, as they were written.
        problems: Everything that is wrong.
        configuration: The checked models; None where `problems` holds errors of the configuration.
    """

    values: dict[str, Any] = field(default_factory=dict)
    places: dict[Keys, Place] = field(default_factory=dict)
    texts: dict[Keys, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    configuration: Configuration | None = None

    def problem(self, keys: Keys, message: str, remedy: str, value: object = "") -> Problem:
        """A problem at the nearest known place of a key path."""
        place = nearest_place(self.places, keys)
        if place is None:
            return Problem("--config", 0, "", _short(value), f"{_dotted(keys)}: {message}", remedy)
        name = _dotted(keys)
        text = f"{name}: {message}" if name else message
        return Problem(place.file, place.line, str(place.column), _short(value), text, remedy)

    def folder_of(self, keys: Keys) -> Path:
        """The folder that a relative path at these keys starts from."""
        place = self.places.get(keys)
        return Path(place.file).parent if place else Path()


def load_configuration(files: Sequence[str | Path], values: Mapping[str, Any] | None = None) -> Loaded:
    """Read, merge and check configuration files.

    Args:
        files: YAML files, the later ones win key by key.
        values: The merged values where the caller has them (Snakemake, with `--config` applied);
            the files then only tell the places.

    Returns:
        What was read; never raises for what is in the files.
    """
    loaded = Loaded()
    merged: dict[str, Any] = {}
    for file in files:
        content = _read_yaml(Path(file), loaded)
        if content is not None:
            _merge(merged, content)
    loaded.values = dict(values) if values is not None else merged
    if any(p.level == "error" for p in loaded.problems):
        return loaded
    try:
        configuration = Configuration.model_validate(loaded.values)
    except ValidationError as error:
        loaded.problems += [_problem_of(loaded, e) for e in error.errors(include_url=False)]
        configuration = None
    loaded.problems += list(_unknown_references(loaded))
    if not any(p.level == "error" for p in loaded.problems):
        loaded.configuration = configuration
    return loaded


def nearest_place(places: Mapping[Keys, Place], keys: Keys) -> Place | None:
    """The place of the longest known beginning of a key path, skipping the tags of unions."""
    known: Keys = ()
    for key in keys:
        if (*known, key) in places:
            known = (*known, key)
    return places.get(known)


def known_keys(model: type[BaseModel], keys: Keys) -> list[str]:
    """The keys that may stand where the last of `keys` stands; empty if that is no closed mapping."""
    current: list[Any] = [model]
    for key in keys[:-1]:
        following: list[Any] = []
        for annotation in current:
            if isinstance(annotation, type) and issubclass(annotation, BaseModel):
                if key in annotation.model_fields:
                    following += _alternatives(annotation.model_fields[str(key)].annotation)
                elif any(key in get_args(f.annotation) for f in annotation.model_fields.values()):
                    following.append(annotation)  # the tag of a union
            elif get_origin(annotation) in (dict, list):
                following += _alternatives(get_args(annotation)[-1])
        current = following
    names: list[str] = []
    for annotation in current:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            names += annotation.model_fields
    return sorted(set(names))


def _alternatives(annotation: Any) -> list[Any]:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _alternatives(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return [a for part in get_args(annotation) for a in _alternatives(part)]
    return [annotation]


def _read_yaml(path: Path, loaded: Loaded) -> dict[str, Any] | None:
    try:
        text = content_of(path, MOST_BYTES).decode("utf-8-sig")
    except FileNotFoundError:
        loaded.problems.append(Problem(str(path), 0, "", "", "file not found", "check the path"))
        return None
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        loaded.problems.append(Problem(str(path), 0, "", "", f"cannot be read: {reason}", "save it as UTF-8"))
        return None
    try:
        excess = excess_of(text)
        if excess:
            column = str(excess.column) if excess.column else ""
            problem = Problem(str(path), excess.line, column, "", excess.message, excess.remedy)
            loaded.problems.append(problem)
            return None
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is not None and _misread(str(path), node, loaded):
            return None
        content = yaml.safe_load(text)  # anew: building a node writes merged keys into it
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line, column = (mark.line + 1, str(mark.column + 1)) if mark else (0, "")
        message = getattr(error, "problem", None) or str(error)
        loaded.problems.append(
            Problem(str(path), line, column, "", f"not valid YAML: {message}", "check indentation and quotes")
        )
        return None
    if content is None:
        content, node = {}, None
    if not isinstance(content, dict):
        loaded.problems.append(
            Problem(str(path), 1, "1", "", "a configuration is a mapping of keys", "see config/README.md")
        )
        return None
    if node is not None:
        _collect_places(str(path), node, (), loaded)
    return content


def _misread(file: str, node: yaml.Node, loaded: Loaded, above: frozenset[int] = frozenset()) -> bool:
    """Note scalars that YAML reads otherwise than they look, and anchors that hold themselves."""

    def note(at: yaml.Node, text: str, message: str, remedy: str) -> None:
        place = at.start_mark
        loaded.problems.append(Problem(file, place.line + 1, str(place.column + 1), _short(text), message, remedy))

    before = len(loaded.problems)
    if id(node) in above:
        note(node, "", "the anchor stands within what it names", "write the value out")
        return True
    above |= {id(node)}
    found = misread_value(node)
    if found:
        note(node, node.value, *found)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            found = misread_key(key)
            if found:
                note(key, str(key.value), *found)
            _misread(file, value, loaded, above)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _misread(file, item, loaded, above)
    return len(loaded.problems) > before


def _collect_places(
    file: str, node: yaml.Node, keys: Keys, loaded: Loaded, overridden: frozenset[str] = frozenset()
) -> None:
    """Note where keys stand; `overridden` are keys of a mapping that the one which merges it (`<<`) has itself."""
    if isinstance(node, yaml.MappingNode):
        own = overridden | {str(k.value) for k, _ in node.value}
        for value_node in reversed([v for k, v in node.value if k.tag == MERGE]):
            several = value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]
            for merged in reversed(several):  # of several the first wins
                _collect_places(file, merged, keys, loaded, own)
        seen: dict[str, int] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            if key in overridden:
                continue
            line, column = key_node.start_mark.line + 1, key_node.start_mark.column + 1
            if key in seen:
                loaded.problems.append(
                    Problem(
                        file,
                        line,
                        str(column),
                        key,
                        f"the key stands twice (first in line {seen[key]})",
                        "keep one",
                    )
                )
            seen[key] = line
            loaded.places[(*keys, key)] = Place(file, line, column)
            loaded.texts[(*keys, key)] = _text_of(value_node)
            _collect_places(file, value_node, (*keys, key), loaded)
    elif isinstance(node, yaml.SequenceNode):
        for i, item in enumerate(node.value):
            loaded.places[(*keys, i)] = Place(file, item.start_mark.line + 1, item.start_mark.column + 1)
            loaded.texts[(*keys, i)] = _text_of(item)
            _collect_places(file, item, (*keys, i), loaded)


def _text_of(node: yaml.Node) -> str:
    """An unquoted scalar that is read as another thing than text, as it was written."""
    return str(node.value) if kind_of(node) else ""


def _merge(into: dict[str, Any], other: Mapping[str, Any]) -> None:
    for key, value in other.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = dict(value) if isinstance(value, Mapping) else value


def _problem_of(loaded: Loaded, error: Any) -> Problem:
    keys: Keys = tuple(k for k in error["loc"] if k != "[key]")
    kind = error["type"]
    value = error.get("input", "")
    if kind == "extra_forbidden":
        names = known_keys(*_below_its_task(loaded, keys))
        near = difflib.get_close_matches(str(keys[-1]), names, n=1, cutoff=0.5)
        remedy = f"did you mean '{near[0]}'?" if near else f"known keys: {', '.join(names)}"
        others = _tasks_with(keys)
        remedy = f"it belongs to the task {' and '.join(others)}" if others else remedy
        return loaded.problem(_without_tags(loaded, keys), "unknown key", remedy)
    message = error["msg"].removeprefix("Value error, ")
    remedy = error.get("ctx", {}).get("remedy", "see docs/configuration.md")
    if kind == "missing":
        message, value, remedy = "required key is missing", "", f"add `{keys[-1]}:`"
    elif kind in ("literal_error", "union_tag_invalid"):
        expected = error.get("ctx", {}).get("expected") or error.get("ctx", {}).get("expected_tags", "")
        if kind == "union_tag_invalid":
            value = error["ctx"].get("tag", "")
        near = difflib.get_close_matches(str(value), [w.strip("' ") for w in expected.split(",")], n=1)
        message = f"must be one of {expected.replace(' or ', ', ')}"
        remedy = f"did you mean '{near[0]}'?" if near else remedy
    elif kind in ("int_parsing", "float_parsing", "int_from_float"):
        remedy = why_no_number(str(value))
    elif kind == "string_type" and loaded.texts.get(_without_tags(loaded, keys)):
        value = loaded.texts[_without_tags(loaded, keys)]
        message, remedy = f"text is needed, and {value} is read as another thing", f"put it in quotes: '{value}'"
    elif kind == "string_pattern_mismatch" and error["loc"][-1:] == ("[key]",):
        message, value = "names are lower-case letters, digits and _, and begin with a letter", ""
        remedy = "rename it"
    return loaded.problem(_without_tags(loaded, keys), message, remedy, value)


def _below_its_task(loaded: Loaded, keys: Keys) -> tuple[type[BaseModel], Keys]:
    """The model that keys are looked up in, and these keys below it: a study has the keys of its task."""
    name = _value_at(loaded.values, (*keys[:2], "task")) if keys[:1] == ("studies",) and len(keys) > 2 else None
    try:
        return (registry.task(name).study, keys[2:]) if isinstance(name, str) else (Configuration, keys)
    except VolforgeError:
        return Configuration, keys


def _tasks_with(keys: Keys) -> list[str]:
    """Tasks whose studies know a key that another task does not."""
    if keys[:1] != ("studies",) or len(keys) < 3:
        return []
    return [n for n in registry.TASKS if keys[-1] in known_keys(registry.task(n).study, keys[2:])]


def _without_tags(loaded: Loaded, keys: Keys) -> Keys:
    """The key path as the user wrote it: pydantic puts the tag of a union between two keys."""
    plain: Keys = ()
    for n, key in enumerate(keys):
        is_last = n == len(keys) - 1
        if (
            (*plain, key) in loaded.places
            or is_last
            or not isinstance(_value_at(loaded.values, plain), dict)
            or key in _value_at(loaded.values, plain)
        ):
            plain = (*plain, key)
    return plain


def _value_at(values: Any, keys: Keys) -> Any:
    for key in keys:
        try:
            values = values[key]
        except (KeyError, IndexError, TypeError):
            return None
    return values


def _unknown_references(loaded: Loaded) -> Iterator[Problem]:
    """Recipes that a cohort names and nobody defines; checked on plain values, whatever else is wrong."""
    recipes, cohorts = loaded.values.get("recipes") or {}, loaded.values.get("cohorts") or {}
    if not isinstance(recipes, Mapping) or not isinstance(cohorts, Mapping):
        return
    for name, cohort in cohorts.items():
        asked = cohort.get("recipes") if isinstance(cohort, Mapping) else None
        for i, recipe in enumerate(asked if isinstance(asked, list) else []):
            if isinstance(recipe, str) and recipe not in recipes:
                near = difflib.get_close_matches(recipe, list(map(str, recipes)), n=1)
                remedy = f"did you mean '{near[0]}'?" if near else f"defined: {', '.join(map(str, recipes)) or 'none'}"
                yield loaded.problem(("cohorts", name, "recipes", i), "recipe is not defined", remedy, recipe)


def _dotted(keys: Keys) -> str:
    return ".".join(str(k) for k in keys)


def _short(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
