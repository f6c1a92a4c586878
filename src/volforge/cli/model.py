"""`volforge model`: what a model (or a baseline) makes of the scans of a study."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Models and baselines of a study: train, predict.")

Settings = Annotated[Path, typer.Option(help="settings.json of the arm.")]
Scans = Annotated[Path, typer.Option(help="scans.tsv of the cohort.")]
Fold = Annotated[int, typer.Option(help="Fold that is tested; 0 for the split `test`.")]
Seed = Annotated[int, typer.Option(help="Seed.")]


@app.command()
def predict(
    settings: Settings,
    scans: Scans,
    out: Annotated[Path, typer.Option(help="Folder to write; it appears whole.")],
    fold: Fold = 0,
) -> None:
    """Predict the test scans of an arm: its baseline, or files made elsewhere."""
    from volforge.study.predict import predict as run
    from volforge.study.settings import ArmSettings

    count = run(ArmSettings.load(settings), scans, fold, out)
    typer.echo(f"{count} predictions in {out}")


@app.command("train-encoder")
def train_encoder_(
    settings: Settings,
    scans: Scans,
    out: Annotated[Path, typer.Option(help="Folder of the model: weights.safetensors, model.json.")],
    fold: Fold = 0,
    seed: Seed = 0,
) -> None:
    """Train the encoder of a study's Fréchet distance on real training slices."""
    from volforge.study.settings import ArmSettings
    from volforge.study.train_encoder import train_encoder

    digest = train_encoder(ArmSettings.load(settings), scans, fold, seed, out)
    typer.echo(f"slice encoder, SHA-256 {digest}")
