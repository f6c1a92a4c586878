"""The page of a run of `benchmarks/gpu.sh`, written after each of its parts: what was measured, and what was not.

Usage: python -m benchmarks.gpu.page RAW OUT [PART CODE SECONDS LIMIT LOG | skipped PART REASON]

RAW is the folder of the parts' results, OUT that of gpu.md and gpu.json. With more words the end of a part is noted
first. Only the standard library is imported.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

Row = dict[str, Any]
TITLES = {
    "plain": "plain loop, fp32",
    "plain_tf32": "plain loop, TF32",
    "tf32": "ours, `32-true`",
    "bf16": "ours, `bf16-mixed`",
    "channels_last": "+ channels last",
    "compile": "+ compiled",
}
CUT = (124, 137)  # exit codes of `timeout`
TAIL = 12  # lines of a log that are shown


def rows_of(path: Path) -> list[Row]:
    """Lines of JSON; a last one that was cut is left out."""
    if not path.exists():
        return []
    whole = [line for line in path.read_text(encoding="utf-8").split("\n")[:-1] if line]
    return [json.loads(line) for line in whole]


def note(raw: Path, words: list[str]) -> None:
    """Note how a part ended."""
    if words[0] == "skipped":
        row: Row = {"part": words[1], "state": "skipped", "seconds": 0, "reason": words[2]}
    else:
        part, code, seconds, limit, log = words
        state = "done" if code == "0" else f"cut after {limit} s" if int(code) in CUT else f"failed ({code})"
        row = {"part": part, "state": state, "seconds": int(seconds), "reason": ""}
        path = Path(log)
        if code != "0" and path.exists():
            row["log"] = path.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL:]
    with (raw / "parts.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def collected(raw: Path) -> Row:
    """All results that there are."""
    path = raw / "machine.json"
    return {
        "machine": json.loads(path.read_text(encoding="utf-8")) if path.exists() else {},
        "parts": rows_of(raw / "parts.jsonl"),
        "tests": rows_of(raw / "tests.jsonl"),
        "walks": rows_of(raw / "walks.jsonl"),
        "networks": [r for r in rows_of(raw / "steps.jsonl") if "about" in r],
        "steps": [r for r in rows_of(raw / "steps.jsonl") if "variant" in r],
    }


def page(found: Row) -> str:
    """The page."""
    parts = [_head(found["machine"]), _parts(found["parts"])]
    size = "at paper size" if found["machine"].get("gpu") else "small, on a processor"
    parts += [_tests(found["tests"]), _walks(found["walks"]), _steps(found["steps"], found["networks"], size)]
    return "\n\n".join(p for p in parts if p) + "\n"


def _head(about: Row) -> str:
    title = "# On a GPU: measured figures"
    if not about:
        return f"{title}\n\nNothing is known of the machine yet."
    software = f"Python {about['python']}, torch {about['torch']}"
    if about["gpu"]:
        software += f", CUDA {about['cuda']}, cuDNN {about['cudnn']}, driver {about['driver'] or 'unknown'}"
        where = f"{about['gpu']}, {about['gpu_gib']} GiB ({about['gpus']} of them, one in use)"
    else:
        title += " (tried out without one)"
        where = "**No GPU: small networks on a processor, which shows that everything runs and no more.**"
    commit = f"; commit {about['commit']}" if about["commit"] else ""
    return (
        f"{title}\n\n{where}\n{about['cores']} cores of {about['processor']}; {software}; {about['date']}{commit}.\n"
        "Written by `benchmarks/gpu.sh`; raw figures are in `gpu.json` beside this page."
    )


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(c.replace("|", "\\|").replace("\n", " ") for c in row) + " |" for row in lines)


def _parts(parts: list[Row]) -> str:
    rows = [[p["part"], p["state"], str(p["seconds"]), p["reason"]] for p in parts]
    text = "## What ran\n\n" + _table(["part", "state", "seconds", ""], rows)
    for part in parts:
        if part.get("log"):
            text += f"\n\nThe last lines of {part['part']}:\n\n```\n" + "\n".join(part["log"]) + "\n```"
    return text


def _tests(rows: list[Row]) -> str:
    if not rows:
        return ""
    counts = {o: sum(r["outcome"] == o for r in rows) for o in ("passed", "failed", "skipped")}
    text = "## Tests of `tests/gpu`\n\n" + ", ".join(f"{n} {o}" for o, n in counts.items() if n) + "."
    wrong = [r for r in rows if r["outcome"] != "passed"]
    if wrong:
        cells = [[f"`{r['test']}`", r["outcome"], _last_line(r["reason"])] for r in wrong]
        text += "\n\n" + _table(["test", "", "reason"], cells)
    known = [r for r in rows if r["found"]]
    if known:
        cells = [
            [f"`{r['test'].split('::')[-1]}`", "; ".join(f"{k} {_number(v)}" for k, v in r["found"].items())]
            for r in known
        ]
        text += "\n\nWhat they found (`apart`: largest relative distance of a loss from what it is held against):\n\n"
        text += _table(["test", ""], cells)
    return text


def _last_line(reason: str) -> str:
    errors = [line for line in reason.splitlines() if line.startswith("E ")]
    lines = errors[:1] or [line for line in reason.splitlines() if line.strip()][-1:]
    return lines[0].removeprefix("E ").strip()[:240] if lines else ""


def _walks(rows: list[Row]) -> str:
    if not rows:
        return ""
    cells = [
        [
            f"{r['step_mm']:g}", f"{r['voxels']:,}", f"{r['compiled_s']:.3f}", f"{r['gpu_s']:.3f}",
            f"{r['compiled_s'] / r['gpu_s']:.1f}", str(r["differ"]),
        ]
        for r in rows
    ]  # fmt: skip
    head = ["grid, mm", "voxels", "compiled, one core, s", "GPU, s", "times as fast", "voxels that differ"]
    return "## Rays of a joint (`joint.accelerator: gpu`), 14 mm\n\n" + _table(head, cells)


def _steps(rows: list[Row], networks: list[Row], at: str) -> str:
    if not rows:
        return ""
    found = {(r["network"], r["variant"]): r for r in rows}
    names = list(dict.fromkeys(r["network"] for r in rows))
    used = [v for v in TITLES if any((n, v) in found for n in names)]
    about = {r["about"]: r for r in networks}
    speed, memory, losses, without = [], [], [], []
    for name in names:
        own = {v: found.get((name, v)) for v in used}
        size = f" {'x'.join(map(str, about[name]['size']))}, batch {about[name]['batch']}" if name in about else ""
        plain = own.get("plain")
        base = plain["step_s"] if plain and plain["state"] == "done" else math.nan
        speed.append([f"`{name}`{size}", *(_speed(own[v], base) for v in used)])
        memory.append([f"`{name}`", *(_memory(own[v]) for v in used)])
        losses.append([f"`{name}`", *(_distance(own[v], plain) for v in used)])
        without += [
            [f"`{name}`", TITLES[v], r["state"], r["reason"]] for v, r in own.items() if r and r["state"] != "done"
        ]
    head = ["", *(TITLES[v] for v in used)]
    origins = "; ".join(f"`{r['about']}`: {r['origin']}" for r in networks)
    text = (
        f"## One step of every network, {at}\n\n"
        "Steps a second, and the ratio to the plain fp32 loop: forward, loss, backward and Adam on one batch that lies "
        "on the device, without TF32. Ours is the whole loop, with loading, transfer, clipping, mean weights and "
        "logging. Rows marked `(whole)` are trainings with all that belongs to them: augmentation, judges that learn "
        "too.\n\n" + _table(head, speed)
    )
    if any(r.get("peak_gib") for r in rows):
        text += "\n\nPeak of the device's memory, GiB:\n\n" + _table(head, memory)
    text += "\n\nRelative distance of the first loss from the plain fp32 loop's (**bold**: beyond its bound):\n\n"
    text += _table(head, losses)
    if without:
        text += "\n\nNot measured:\n\n" + _table(["network", "setting", "", "reason"], without)
    return text + f"\n\nSizes: {origins}."


def _speed(row: Row | None, base: float) -> str:
    if row is None or row["state"] != "done":
        return "–"
    ratio = f" ({base / row['step_s']:.2f})" if math.isfinite(base) else ""
    return f"{1 / row['step_s']:.3g}{ratio}"


def _memory(row: Row | None) -> str:
    return f"{row['peak_gib']:.2f}" if row and row["state"] == "done" and row["peak_gib"] is not None else "–"


def _distance(row: Row | None, plain: Row | None) -> str:
    if row is None or plain is None or row["state"] != "done" or plain["state"] != "done":
        return "–"
    first, wanted = row["losses"][0], plain["losses"][0]
    apart = max(abs(first[k] - v) / max(abs(v), 1e-9) for k, v in wanted.items())
    text = f"{apart:.1e}" if apart else "0"
    return text if apart <= row["bound"] else f"**{text}**"


def _number(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def write(raw: Path, out: Path) -> None:
    """Write gpu.md and gpu.json, each whole."""
    found = collected(raw)
    out.mkdir(parents=True, exist_ok=True)
    for name, text in (("gpu.json", json.dumps(found, indent=1) + "\n"), ("gpu.md", page(found))):
        scratch = out / f".{name}.part"
        scratch.write_text(text, encoding="utf-8")
        scratch.replace(out / name)


def main() -> None:
    """Note the end of a part, if one is said; write."""
    raw, out, *words = sys.argv[1:]
    if words:
        note(Path(raw), words)
    write(Path(raw), Path(out))


if __name__ == "__main__":
    main()
