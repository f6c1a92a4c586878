"""The page of a run of benchmarks: table, picture, and all figures for machines."""

from __future__ import annotations

import csv
import json
import math
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, fields
from datetime import date
from importlib import metadata
from io import StringIO
from itertools import groupby
from pathlib import Path

from benchmarks.default_run import where_time_goes
from benchmarks.rows import EVEN, NEAR, Line
from volforge.whole_file import write_whole

PACKAGES = (
    "numpy", "scipy", "numba", "torch", "monai", "scikit-image", "SimpleITK", "nibabel", "isal", "edt",
    "connected-components-3d", "blosc2", "zarr", "pillow", "surface-distance", "medpy", "vtk", "trimesh", "snakemake",
)  # fmt: skip
HOW_TO_READ = f"""\
Every row was measured in this run, on one thread unless it says otherwise; the results of ours and of the peer were
compared first (column *results*). Ours and the peers take turns in one process. *Times* is the peer's time over ours:
the median over the turns, with the lowest and the highest; over 1 ours is faster. A *limit* is no rival but a part of
the work that nobody can leave out: there ours is asked to stay within {NEAR:g} times of it, that is at {1 / NEAR:.2f}
or above. A peer leads where *times* is under {EVEN:g}; then, or far from a limit, the remark says why."""


def write_page(out: Path, lines: Sequence[Line], *, run: Path, seconds: float, quick: bool) -> None:
    """Write benchmarks.md, .svg, .tsv and .json into a folder.

    Args:
        out: Folder; made where it is not there.
        lines: In the order of the table.
        run: Folder of a run of the pipeline, whose time is shared out; left out where there is none.
        seconds: What measuring took.
        quick: Sizes were small: said on the page.
    """
    out.mkdir(parents=True, exist_ok=True)
    about = machine()
    content = json.dumps({"about": about, "lines": _plain(lines)}, indent=1, ensure_ascii=False) + "\n"
    write_whole(out / "benchmarks.json", content.encode())
    write_whole(out / "benchmarks.tsv", _tsv(lines).encode())
    write_whole(out / "benchmarks.svg", picture(lines))
    write_whole(out / "benchmarks.md", _markdown(lines, about, run, seconds, quick).encode())


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    about: dict[str, object] = {"date": date.today().isoformat(), "cpu": _cpu(), "cores": os.cpu_count()}
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    about |= {"memory_gib": round(pages / 2**30), "load": round(os.getloadavg()[0], 1)}
    about["python"] = platform.python_version()
    about["packages"] = {name: found for name in PACKAGES if (found := _version(name))}
    return about


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((n.split(":", 1)[1].strip() for n in lines if n.startswith("model name")), platform.processor())


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _plain(lines: Sequence[Line]) -> list[dict[str, object]]:
    """Lines as JSON has them: what is not known is null."""
    return [{k: None if isinstance(v, float) and math.isnan(v) else v for k, v in asdict(n).items()} for n in lines]


def _tsv(lines: Sequence[Line]) -> str:
    text = StringIO()
    table = csv.DictWriter(text, [f.name for f in fields(Line)], delimiter="\t", lineterminator="\n")
    table.writeheader()
    table.writerows(_plain(lines))
    return text.getvalue()


def _markdown(lines: Sequence[Line], about: dict[str, object], run: Path, seconds: float, quick: bool) -> str:
    packages = about["packages"]
    assert isinstance(packages, dict)
    found = [
        "# Benchmarks",
        "",
        "Written by `make bench` (`python -m benchmarks.compare`); all figures: `benchmarks.tsv`, `benchmarks.json`.",
        "",
        f"{about['date']}, {about['cores']} cores of {about['cpu']}, {about['memory_gib']} GiB; "
        f"{seconds / 60:.0f} minutes, load {about['load']} at the end.",
        f"Python {about['python']}, {', '.join(f'{k} {v}' for k, v in packages.items())}.",
        "",
        *(["**Small sizes, one turn: only whether results agree is of interest here.**", ""] if quick else []),
        HOW_TO_READ,
        "",
        "![How many times faster than each peer](benchmarks.svg)",
    ]
    for topic, group in groupby(lines, lambda n: n.topic):
        head = "| work | ours | against | theirs | times | results | remark |"
        found += ["", f"## {topic}", "", head, "| --- " * 7 + "|"]
        before = ""
        for line in group:
            found.append("| " + " | ".join(_cells(line, repeats=line.row == before)) + " |")
            before = line.row
    found += ["", *where_time_goes(run)]
    return "\n".join(found).rstrip() + "\n"


def _cells(line: Line, *, repeats: bool) -> list[str]:
    peer = f"{line.peer} (limit)" if line.kind == "limit" else line.peer
    remark = "; ".join(t for t in (line.problem, line.note) if t)
    if not line.turns:
        return ["" if repeats else line.row, "", peer, "", "", "", remark]
    ours = "" if repeats else f"{_number(line.ours)} {line.unit}"
    if not line.peer:
        return [line.row, ours, "", "", "", "", remark]
    times = f"{_number(line.ratio)} ({_number(line.low)} to {_number(line.high)})"
    if line.is_behind:
        times = f"*{times}*"
    theirs = f"{_number(line.theirs)} {line.unit}"
    return ["" if repeats else line.row, ours, peer, theirs, times, line.agreement, remark]


def _number(value: float) -> str:
    """Three digits, without an exponent."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}" if digits else f"{round(value, 2 - math.floor(math.log10(abs(value)))):,.0f}"


def picture(lines: Sequence[Line]) -> bytes:
    """How many times faster ours is than each peer, on a scale of powers: one dot a line, with the range over turns."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "benchmarks"
    mpl.rcParams["svg.fonttype"] = "none"  # text stays text: small, and to be searched
    import matplotlib.pyplot as plt

    shown = [n for n in lines if n.turns and n.peer]
    figure, axis = plt.subplots(figsize=(9, 1.2 + 0.19 * max(1, len(shown) + len({n.topic for n in shown}))))
    y, before, ticks, labels = 0.0, "", [], []
    for line in shown:
        if line.topic != before:
            y, before = y + 1, line.topic
            place = {"transform": axis.get_yaxis_transform(), "ha": "right", "va": "center"}
            axis.text(0, y - 0.15, f"{line.topic} ", fontsize=6.5, weight="bold", **place)
        y += 1
        colour = "#888888" if line.kind == "limit" else "#b3541e" if line.is_behind else "#1f6f8b"
        axis.plot([line.low, line.high], [y, y], color=colour, lw=1.2, solid_capstyle="butt")
        mark, size = ("o", 4) if line.kind == "peer" else ("|", 7)
        axis.plot([line.ratio], [y], mark, color=colour, ms=size)
        ticks.append(y)
        labels.append(f"{_short(line.row)}: {line.peer}")
    axis.axvline(1, color="black", lw=0.8)
    axis.set_xscale("log")
    axis.set_yticks(ticks, labels, fontsize=6)
    axis.set_ylim(y + 1, 0)
    axis.grid(axis="x", lw=0.3)
    axis.tick_params(axis="y", length=0)
    axis.xaxis.set_major_formatter(lambda v, _: f"{v:g}")
    axis.set_xlabel("times faster than the peer (dots), or share of a limit (bars, grey); range over turns", fontsize=7)
    axis.tick_params(axis="x", labelsize=7)
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
    from io import BytesIO

    buffer = BytesIO()
    figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)
    return buffer.getvalue()


def _short(name: str) -> str:
    return name if len(name) <= 60 else name[:58] + "…"
