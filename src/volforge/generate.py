"""Files generated from the code: `python -m volforge.generate` writes them, a test compares them.

From the configuration's models: `config/schemas/*.json`, `config/reference.yaml`, `docs/configuration.md`.
From the pins of `pyproject.toml`: `envs/cpu.yaml`, `envs/gpu.yaml`, `envs/Containerfile`.
"""

from __future__ import annotations

import json
import sys
import tomllib
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, TypeAdapter
from pydantic_core import PydanticUndefined

from volforge.cohort import sheet
from volforge.config.studies import Study
from volforge.tables import structures
from volforge.tasks import registry
from volforge.volume.units import PATTERN
from volforge.workflow.configuration import Configuration


def generated_files(root: Path) -> dict[str, str]:
    """Every generated file: path from the project's root, and its text."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {
        "config/schemas/config.schema.json": _json(_closed_schema()),
        "config/schemas/sheet.schema.json": _json(sheet_schema()),
        "config/schemas/structures.schema.json": _json(structures_schema()),
        "config/reference.yaml": reference_yaml(),
        "docs/configuration.md": configuration_page(),
        "envs/cpu.yaml": conda_yaml(project, []),
        "envs/gpu.yaml": conda_yaml(project, ["train"]),
        "envs/Containerfile": containerfile(project),
    }


def _json(content: Any) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _closed_schema() -> dict[str, Any]:
    schema = TypeAdapter(Configuration).json_schema()
    defs, alternatives = schema["$defs"], []
    for name in registry.TASKS:  # a study has the keys of its task
        own = TypeAdapter(registry.task(name).study).json_schema()
        defs |= own.pop("$defs")
        own["properties"]["task"] = {"const": name, "title": "Task"}
        defs[f"study of {name}"] = own
        alternatives.append({"$ref": f"#/$defs/study of {name}"})
    of_a_file = {
        "type": "object",
        "required": ["task"],
        "properties": {"task": {"type": "string", "pattern": r"\.py:"}},
    }
    schema["properties"]["studies"]["additionalProperties"] = {"anyOf": [*alternatives, of_a_file]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "volforge configuration",
        **schema,
    }


def sheet_schema() -> dict[str, Any]:
    """JSON schema of a row of a sample sheet."""
    words: dict[str, Any] = {
        "subject": {"type": "string", "minLength": 1},
        "scan": {"type": "string", "pattern": sheet.SCAN.pattern},
        "modality": {"enum": list(sheet.MODALITIES)},
        "unit": {"type": "string", "pattern": f"^({PATTERN})?$"},
        "label_source": {"enum": ["", *sheet.LABEL_SOURCES]},
        "split": {"enum": ["", *sheet.SPLITS]},
        "fold": {"type": "string", "pattern": "^[0-9]*$"},
    }
    properties = {c: words.get(c, {"type": "string"}) for c in sheet.COLUMNS}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "row of a sample sheet",
        "type": "object",
        "properties": properties,
        "required": ["subject", "scan", "modality"],
        "additionalProperties": {"type": "string"},
    }


def structures_schema() -> dict[str, Any]:
    """JSON schema of a row of a structures table."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "row of a table of structures",
        "type": "object",
        "properties": {
            "structure": {"type": "string", "pattern": structures.NAME.pattern},
            "id": {"type": "string", "pattern": "^[0-9]{1,5}$"},
            "colour": {"type": "string", "pattern": "^(#[0-9a-fA-F]{6})?$"},
            "side": {"enum": ["", "left", "right"]},
            "group": {"type": "string"},
            "roi": {"type": "string"},
        },
        "required": ["structure", "id"],
    }


# --- walking the models


def _parts(annotation: Any) -> list[Any]:
    """The alternatives of an annotation, without `Annotated` and `None`."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _parts(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return [p for a in get_args(annotation) for p in _parts(a)]
    return [] if annotation is type(None) else [annotation]


def _models_in(annotation: Any) -> list[tuple[str, type[BaseModel]]]:
    """The models that a value may be, each with the prefix of its keys (`<name>.` below a mapping)."""
    found: list[tuple[str, type[BaseModel]]] = []
    for part in _parts(annotation):
        if get_origin(part) is dict:
            found += [(f"<name>.{prefix}", m) for prefix, m in _models_in(get_args(part)[1])]
        elif isinstance(part, type) and issubclass(part, BaseModel):
            found.append(("", part))
    return found


def _type_words(annotation: Any) -> str:
    words = []
    for part in _parts(annotation):
        origin = get_origin(part)
        if origin is Literal:
            words += [f"`{v}`" for v in get_args(part)]
        elif origin is list:
            words.append(f"list of {_type_words(get_args(part)[0])}")
        elif origin is dict:
            words.append("mapping by name")
        elif isinstance(part, type) and issubclass(part, BaseModel):
            words.append("mapping")
        else:
            words.append(
                {"str": "text", "int": "whole number", "float": "number", "bool": "true or false"}[part.__name__]
            )
    return " or ".join(dict.fromkeys(words))


def _bounds(field: Any) -> str:
    signs = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
    found = [
        f"{sign} {getattr(m, name):g}"
        for m in field.metadata
        for name, sign in signs.items()
        if getattr(m, name, None) is not None
    ]
    return ", ".join(found)


def _default_text(field: Any) -> str:
    value = field.default
    if value is PydanticUndefined:
        return "required"
    if isinstance(value, BaseModel):
        return json.dumps(value.model_dump(), ensure_ascii=False).replace('"', "")
    if value is None or value == "":
        return "empty"
    return json.dumps(value, ensure_ascii=False).strip('"')


def _sections() -> list[tuple[str, type[BaseModel]]]:
    """Every model with the path of its keys, in reading order."""
    found: list[tuple[str, type[BaseModel]]] = []

    def visit(path: str, model: type[BaseModel]) -> None:
        if any(m is model for _, m in found):
            return
        found.append((path, model))
        for name, field in model.model_fields.items():
            for prefix, inner in _models_in(field.annotation):
                visit(f"{path}{name}.{prefix}", inner)

    visit("", Configuration)
    return found


def own_fields(model: type[BaseModel], base: type[BaseModel]) -> dict[str, Any]:
    """Fields of a model that its base does not have, or has with other models below; by their path, in order."""
    found: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        known = base.model_fields.get(name)
        if known is None:
            found[name] = field
            continue
        for (prefix, inner), (_, other) in zip(
            _models_in(field.annotation), _models_in(known.annotation), strict=False
        ):
            if inner is not other:
                found |= {f"{name}.{prefix}{n}": f for n, f in own_fields(inner, other).items()}
    return found


def _sections_of_tasks() -> list[tuple[str, type[BaseModel] | dict[str, Any], str]]:
    """Keys that only some tasks know: heading, fields or model, and a sentence."""
    found: list[tuple[str, type[BaseModel] | dict[str, Any], str]] = []
    seen = [m for _, m in _sections()]

    def visit(path: str, model: type[BaseModel]) -> None:
        if model in seen:
            return
        seen.append(model)
        found.append((path, model, ""))
        for name, field in model.model_fields.items():
            for prefix, inner in _models_in(field.annotation):
                visit(f"{path}.{name}{'.' + prefix.rstrip('.') if prefix else ''}", inner)

    for task in registry.TASKS:
        own = own_fields(registry.task(task).study, Study)
        if own:
            found.append((f"studies.<name>` with `task: {task}", own, f"Keys that only the task {task} knows."))
        for name, field in own.items():
            for prefix, inner in _models_in(field.annotation):
                visit(f"studies.<name>.{name}{'.' + prefix.rstrip('.') if prefix else ''}", inner)
    return found


def configuration_page() -> str:
    """docs/configuration.md: every key with type, default and meaning."""
    lines = [
        "# Configuration",
        "",
        "Generated from the code by `make generated`; edit the descriptions in `src/volforge/config/`.",
        "A configuration is YAML. Unknown keys are errors. `volforge validate` checks it with all its sheets.",
        "Several files may be given; later ones win key by key. Paths start from the file that names them.",
        "",
    ]
    for path, model in _sections():
        kind = model.model_fields.get("kind")
        tag = (
            f" with `kind: {get_args(kind.annotation)[0]}`"
            if kind is not None and len(get_args(kind.annotation)) == 1
            else ""
        )
        heading = f"`{path.rstrip('.')}`{tag}" if path else "Top level"
        doc = (model.__doc__ or "").strip().splitlines()[0]
        lines += [
            f"## {heading}",
            "",
            doc,
            "",
            "| key | type | default | meaning |",
            "| --- | --- | --- | --- |",
        ]
        lines += [*_table_lines(model.model_fields), ""]
    for path, keys, sentence in _sections_of_tasks():
        fields = keys if isinstance(keys, dict) else keys.model_fields
        doc = sentence or (keys.__doc__ or "").strip().splitlines()[0]
        lines += [f"## `{path}`", "", doc, "", "| key | type | default | meaning |", "| --- | --- | --- | --- |"]
        lines += [*_table_lines(fields), ""]
    lines += ["## Baselines", "", "What no learning gives, by task (`baseline:` of an arm).", ""]
    lines += ["| task | baselines |", "| --- | --- |"]
    for task in registry.TASKS:
        names = ", ".join(f"`{b}`" for b in registry.task(task).baselines)
        lines.append(f"| `{task}` | {names or 'none'} |")
    return "\n".join([*lines, ""])


def _table_lines(fields: Mapping[str, Any]) -> list[str]:
    lines = []
    for name, field in fields.items():
        bounds = _bounds(field)
        words = _type_words(field.annotation) + (f", {bounds}" if bounds else "")
        cells = [f"`{name}`", words, _default_text(field), field.description or ""]
        lines.append("| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |")
    return lines


def reference_yaml() -> str:
    """config/reference.yaml: every key with its default and comment; reading material, not for a run."""
    lines = [
        "# yaml-language-server: $schema=schemas/config.schema.json",
        "# Every key with its default. Generated by `make generated`; copy what you need. <name> is yours to choose.",
    ]

    def write(model: type[BaseModel], indent: int) -> None:
        write_fields(model.model_fields, indent)
        for task in registry.TASKS if model is Study else ():
            own = own_fields(registry.task(task).study, Study)
            if own:
                pad = "  " * indent
                lines.append(f"{pad}# with `task: {task}` also:")
                start = len(lines)
                write_fields(own, indent)
                lines[start:] = [f"{pad}# {line[len(pad) :]}" for line in lines[start:]]

    def write_fields(fields: Mapping[str, Any], indent: int) -> None:
        pad = "  " * indent
        for name, field in fields.items():
            inner = _models_in(field.annotation)
            comment = f"  # {field.description}" if field.description else ""
            if not inner or (field.default is None):
                value = field.default
                shown = "" if value is PydanticUndefined else " " + json.dumps(value, ensure_ascii=False)
                if field.default is None and inner:
                    lines.append(f"{pad}{name}: null{comment}")
                    for prefix, m in inner:
                        lines.append(f"{pad}# {name}:{' ' + prefix if prefix else ''}")
                        start = len(lines)
                        write(m, indent + 1)
                        lines[start:] = [f"{pad}# {line[len(pad) :]}" for line in lines[start:]]
                else:
                    mark = (
                        f" <{_type_words(field.annotation).replace('`', '')}>" if value is PydanticUndefined else shown
                    )
                    lines.append(f"{pad}{name}:{mark}{comment}")
                continue
            lines.append(f"{pad}{name}:{comment}")
            for prefix, m in inner:
                depth = indent + 1
                if prefix:
                    tag = m.model_fields.get("kind")
                    words = get_args(tag.annotation) if tag and get_origin(tag.annotation) is Literal else ()
                    lines.append(f"{'  ' * depth}<name>{'_' + words[0] if len(words) == 1 else ''}:")
                    depth += 1
                elif len(inner) > 1:
                    lines.append(f"{'  ' * depth}# either")
                write(m, depth)

    write(Configuration, 0)
    return "\n".join(line.rstrip() for line in lines) + "\n"


def conda_yaml(project: dict[str, Any], extras: list[str]) -> str:
    """A conda environment with the pins; the package itself is found by its path, see rules/common.smk."""
    pins = list(project["dependencies"]) + [p for e in extras for p in project["optional-dependencies"][e]]
    lines = [
        "# Generated from pyproject.toml by `make generated`.",
        "channels:",
        "  - conda-forge",
        "  - nodefaults",
        "dependencies:",
        "  - python=3.11",
        "  - pip",
        "  - pip:",
        *[f"      - {p}" for p in pins],
    ]
    return "\n".join(lines) + "\n"


def containerfile(project: dict[str, Any]) -> str:
    """A container recipe (Docker, Podman, or Apptainer through either) with everything a GPU node needs."""
    return f"""# Generated from pyproject.toml by `make generated`.
# Build at the project's root: podman build -f envs/Containerfile -t volforge:{project["version"]} .
FROM docker.io/library/python:3.11-slim-bookworm
RUN apt-get update \\
 && apt-get install -y --no-install-recommends git libgl1 libx11-6 \\
 && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/volforge
COPY pyproject.toml setup.py README.md LICENSE Snakefile ./
COPY envs envs
COPY rules rules
COPY profiles profiles
COPY config config
COPY docs docs
COPY src src
RUN pip install --no-cache-dir -c envs/constraints.txt ".[train]"
ENTRYPOINT ["volforge"]
"""


def main() -> None:
    """Write all generated files below the project's root."""
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path.cwd()
    for name, text in generated_files(root).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(name)


if __name__ == "__main__":
    main()
