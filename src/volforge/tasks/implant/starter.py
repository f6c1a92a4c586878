"""A first study of implants: what closes holes without learning, and a fitted model of skulls."""

from __future__ import annotations

from volforge.tasks.starting import Facts, Start, too_few


def start(facts: Facts) -> Start | str:
    """Implants of skulls whose hole and implant are known."""
    rows = facts.having("defective", "implant")
    if not rows:
        return "it takes the columns `defective` and `implant`"
    few = too_few(rows, "a defective skull and its implant")
    if few:
        return few
    lines = [
        "task: implant",
        f"cohort: {facts.cohort}",
        *([facts.tested] if facts.tested else []),
        "arms:",
        "  # the mean implant at its mean place; the skull's other half, mirrored; holes closed by balls of closing_mm",
        "  mean_implant: {baseline: mean_implant}",
        "  mirror: {baseline: mirror}",
        "  closing: {baseline: closing, closing_mm: 30}",
        "  # a model of the skull's two surfaces: fitted, not trained; half a minute a skull (docs/implants.md)",
        "  volforge: {models: {skull: {kriging: {}}}}",
    ]
    return Start("\n".join(lines))
