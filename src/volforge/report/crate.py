"""A run as a research object: `ro-crate-metadata.json` names every file of the results with its hash and its origin.

The form is RO-Crate 1.1 (https://w3id.org/ro/crate/1.1). Inputs stand there by hash, without names and places.
"""

from __future__ import annotations

import json
import mimetypes
import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

from volforge.errors import VolforgeError
from volforge.scratch import NAME as SCRATCH
from volforge.volume.folders import MARKER, sha256_of, write_json

CRATE = "ro-crate-metadata.json"
CONTEXT = "https://w3id.org/ro/crate/1.1/context"
FORM = "https://w3id.org/ro/crate/1.1"
SHA256 = "https://w3id.org/ro/terms/workflow-run#sha256"  # the context has no word for it; this term is in common use
READERS = 4
WORDS = {
    "measures.tsv": "Measures, one value per row", "table.tsv": "Table of a study", "table.md": "Table of a study",
    "table.tex": "Table of a study", "table.json": "Table of a study", "report.html": "Report of the run",
    "provenance.json": "Versions, code, configuration, hashes of inputs, hardware",
    "report.json": "Configuration as the report reads it", "scans.tsv": "Scans of a cohort, with splits and flags",
    "weights.safetensors": "Weights of a model", "model.json": "Description of a model",
    "predictions.tsv": "Predictions of an arm", "record.json": "Record of a scan",
}  # fmt: skip
MORE_TYPES = {
    ".tsv": "text/tab-separated-values", ".md": "text/markdown", ".tex": "text/x-tex", ".b2nd": "application/x-blosc2",
    ".safetensors": "application/octet-stream", ".nii.gz": "application/gzip", ".stl": "model/stl",
    ".ply": "model/ply",
}  # fmt: skip


def write_crate(results: Path, request: Mapping[str, Any], origin: Mapping[str, Any]) -> Path:
    """Write the description of a run's results beside them.

    Args:
        results: Folder of results.
        request: Content that `volforge.workflow.jobs.report_settings` makes: the run's cohorts and studies.
        origin: Content of `provenance.json`.

    Returns:
        The file.
    """
    files = list(files_of_run(results, request))
    with ThreadPoolExecutor(READERS) as pool:  # hashing lets other threads run
        hashes = list(pool.map(lambda name: sha256_of(results / name), files))
    sizes = [(results / name).stat().st_size for name in files]
    parts = [_file_entity(n, h, s) for n, h, s in zip(files, hashes, sizes, strict=True)]
    inputs = sorted({h for values in origin["input_sha256"].values() for h in values if h})
    graph = [_descriptor(), _root(request, origin, files), *_run(origin, inputs, files), *parts]
    write_json(results / CRATE, {"@context": [CONTEXT, {"sha256": SHA256}], "@graph": graph})
    return results / CRATE


def files_of_run(results: Path, request: Mapping[str, Any]) -> Iterator[str]:
    """Names of a run's files from the folder of results on, in order; what leads out of that folder is none of them.

    Args:
        results: Folder of results.
        request: As in `write_crate`. Of other cohorts and studies, which earlier runs have left, nothing is listed.
    """
    tops = [f"cohorts/{c}" for c in request["cohorts"]] + [f"phantoms/{c}" for c in request["cohorts"]]
    tops += [f"studies/{s}" for s in request["studies"]]
    found = [n for n in ("report.html", "report.json", "provenance.json") if (results / n).is_file()]
    for top in tops:
        for base, folders, names in os.walk(results / top):
            folders[:] = [f for f in folders if not SCRATCH.fullmatch(f) and Path(base, f) != results / top / "png"]
            kept = (Path(base, n) for n in names if n != MARKER and not SCRATCH.fullmatch(n))
            found += [p.relative_to(results).as_posix() for p in kept if p.is_file() and not leads_out(p, results)]
    yield from sorted(found)


def leads_out(path: Path, results: Path) -> bool:
    """Whether a file is, or lies behind, a link to a place outside of the folder of results."""
    return not path.resolve().is_relative_to(results.resolve())


def read_crate(results: Path) -> dict[str, tuple[int, str]]:
    """Size and SHA-256 by name of each file that a crate lists.

    Raises:
        VolforgeError: There is no crate, or it is damaged.
    """
    from urllib.parse import unquote

    from volforge.volume.folders import form_of, read_object

    path = results / CRATE
    if not path.is_file():
        remedy = "let the run end: it is the last that is written; or name the folder of results"
        raise VolforgeError(f"no {CRATE} lies there", str(results), remedy)
    graph = read_object(path, "a description of results", "@graph")["@graph"]
    with form_of(path, "a description of results"):
        files = [e for e in graph if e["@type"] == "File"]
        return {unquote(e["@id"]): (int(e["contentSize"]), str(e["sha256"])) for e in files}


def _descriptor() -> dict[str, Any]:
    return {"@id": CRATE, "@type": "CreativeWork", "about": {"@id": "./"}, "conformsTo": {"@id": FORM}}


def _root(request: Mapping[str, Any], origin: Mapping[str, Any], files: Iterable[str]) -> dict[str, Any]:
    studies = ", ".join(request["studies"]) or "none"
    return {
        "@id": "./",
        "@type": "Dataset",
        "name": request["report"].get("title") or "Results of volforge",
        "description": f"Results of a run of volforge: cohorts {', '.join(request['cohorts'])}; studies {studies}.",
        "datePublished": origin["made"],
        "license": {"@id": "#terms"},
        "hasPart": _ids(files),
        "mentions": {"@id": "#run"},
    }


def _run(origin: Mapping[str, Any], inputs: list[str], files: list[str]) -> Iterator[dict[str, Any]]:
    """What made the files: the run, what it read, by which software."""
    cohorts = origin["configuration"].get("cohorts", {})
    named = {n: c.get("licence", "") for n, c in cohorts.items() if isinstance(c, Mapping)}
    terms = "; ".join(f"{n}: {licence}" for n, licence in named.items() if licence) or "as their sources state"
    yield {"@id": "#terms", "@type": "CreativeWork", "name": "Terms of use", "description": f"Of the cohorts: {terms}"}
    code = origin["code"]
    about: dict[str, Any] = {"version": origin["versions"].get("volforge", "")}
    if code.get("commit"):
        about["softwareVersion"] = f"{code['commit']}{' with changes' if code.get('changed') else ''}"
    yield {
        "@id": "#run",
        "@type": "CreateAction",
        "name": "Run of volforge",
        "endTime": origin["made"],
        "instrument": {"@id": "#volforge"},
        "object": [{"@id": f"#input-{h}"} for h in inputs],
        "result": _ids(files),
    }
    packages = {n: v for n, v in origin["versions"].items() if n != "volforge"}
    needs = [{"@id": f"#software-{quote(n)}"} for n in packages]
    yield {
        "@id": "#volforge",
        "@type": "SoftwareApplication",
        "name": "volforge",
        **about,
        "softwareRequirements": needs,
    }
    for name, version in packages.items():
        yield {"@id": f"#software-{quote(name)}", "@type": "SoftwareApplication", "name": name, "version": version}
    machine = ", ".join(f"{k} {v}" for k, v in origin["hardware"].items())
    yield {"@id": "#machine", "@type": "Thing", "name": "Machine that wrote the report", "description": machine}
    for number, digest in enumerate(inputs, start=1):
        yield {"@id": f"#input-{digest}", "@type": "CreativeWork", "name": f"Input {number}", "sha256": digest}


def _file_entity(name: str, digest: str, size: int) -> dict[str, Any]:
    last = name.rsplit("/", 1)[-1]
    suffix = next((s for s in MORE_TYPES if last.endswith(s)), "")
    kind = MORE_TYPES.get(suffix) or mimetypes.guess_type(last)[0] or "application/octet-stream"
    entity = {"@id": quote(name), "@type": "File", "name": name, "encodingFormat": kind}
    if last in WORDS:
        entity["description"] = WORDS[last]
    return {**entity, "contentSize": str(size), "sha256": digest}


def _ids(names: Iterable[str]) -> list[dict[str, str]]:
    return [{"@id": quote(n)} for n in names]


def hash_of_crate(results: Path) -> str:
    """SHA-256 of the crate itself: kept elsewhere, it shows that nobody wrote another one."""
    return sha256_of(results / CRATE)


def request_of(results: Path) -> dict[str, Any]:
    """The cohorts and studies of the run that wrote a folder of results.

    Raises:
        VolforgeError: `report.json` is missing or damaged.
    """
    try:
        content = json.loads((results / "report.json").read_text(encoding="utf-8"))
        return {"cohorts": list(content["cohorts"]), "studies": list(content["studies"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise VolforgeError(
            f"not the settings of a report: {error}", str(results / "report.json"), "run again"
        ) from error
