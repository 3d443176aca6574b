"""The command `gated-pipeline`."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from rich.console import Console

from checkpoint_gate.errors import CheckpointGateError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="checkpoint-gate")
def cli() -> None:
    """Run the gated tabular pipeline: train behind a gate, filter, evaluate, bless, push."""


@cli.command()
@click.argument("pipeline", type=click.Path(path_type=Path))
@click.option(
    "--root",
    type=click.Path(path_type=Path, file_okay=False),
    help="Everything the run makes goes below this folder.  [default: runs/<the pipeline file's folder>]",
)
@click.option("--retrain", is_flag=True, help="Train anew, though nothing has changed; the old run stays.")
@click.option(
    "--rebaseline",
    is_flag=True,
    help="Set the champion aside in this run: the thresholds on values decide alone whether the winner is pushed.",
)
@click.option("--json", "as_json", is_flag=True, help="End with one JSON object as the last line of standard output.")
def run(pipeline: Path, root: Path | None, retrain: bool, rebaseline: bool, as_json: bool) -> None:
    """Run PIPELINE (a pipeline.yaml) from its table to the push folder."""
    from gated_pipelines.local import run_local
    from gated_pipelines.words import tell

    place = root or Path("runs") / pipeline.absolute().parent.name
    summary = run_local(pipeline, place, retrain=retrain, rebaseline=rebaseline)
    tell(summary, Console(stderr=as_json, highlight=False))
    if not summary.green:
        click.echo(f"Error: {summary.reason}", err=True)
    if as_json:
        click.echo(summary.to_json())
    sys.exit(0 if summary.green else 1)


@cli.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.option("--data", "csv", required=True, type=click.Path(path_type=Path), help="The CSV file.")
@click.option("--label", required=True, help="The column to predict.")
@click.option(
    "--task", type=click.Choice(["regression", "binary", "multiclass"]), help="Told by the label if not given."
)
def new(directory: Path, csv: Path, label: str, task: str | None) -> None:
    """Write DIRECTORY/pipeline.yaml for a CSV of your own."""
    from gated_pipelines.scaffold import write_pipeline

    path = write_pipeline(csv, label, directory, task)
    click.echo(f"Wrote {path}. Run it with: gated-pipeline run {path}")


def main() -> None:
    """Runs the command; an error raised on purpose becomes one sentence and exit code 1."""
    try:
        cli()
    except CheckpointGateError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
