"""The command `gated-pipeline`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from checkpoint_gate.errors import CheckpointGateError
from gated_pipelines.disk.command import prune
from gated_pipelines.history.command import history
from gated_pipelines.kubeflow.compile.command import compile_command
from gated_pipelines.kubeflow.lint.command import lint
from gated_pipelines.kubeflow.rehearsal.command import rehearse
from gated_pipelines.kubeflow.servers.submit_command import submit
from gated_pipelines.schedule_command import schedule
from gated_pipelines.tables.data_command import data
from gated_pipelines.tables.schema_command import schema


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
@click.option(
    "--span",
    type=click.IntRange(min=0, max=10**18 - 1),
    metavar="N",
    help="The last span of a table with {SPAN} in its name.  [default: the largest there is]",
)
@click.option("--retrain", is_flag=True, help="Train anew, though nothing has changed; the old run stays.")
@click.option(
    "--rebaseline",
    is_flag=True,
    help="Set the champion aside in this run: the thresholds on values decide alone whether the winner is pushed.",
)
@click.option("--json", "as_json", is_flag=True, help="End with one JSON object as the last line of standard output.")
def run(pipeline: Path, root: Path | None, span: int | None, retrain: bool, rebaseline: bool, as_json: bool) -> None:
    """Run PIPELINE (a pipeline.yaml) from its table to the push folder."""
    from gated_pipelines.reporting.words import tell_end
    from gated_pipelines.running.local import run_command
    from gated_pipelines.running.rollback import default_root

    root = root or default_root(pipeline)
    summary = run_command(pipeline, root, span=span, retrain=retrain, rebaseline=rebaseline)
    sys.exit(tell_end(summary, as_json))


@cli.command()
@click.argument("pipeline", metavar="PIPELINE")
@click.option("--root", type=click.Path(path_type=Path, file_okay=False), help="That of the runs, as for run.")
@click.option("--to", type=click.IntRange(min=1), metavar="VERSION", help="Go back to this one.")
@click.option("--reason", help="Why; papers, log and later runs tell it.")
@click.option("--undo", is_flag=True, help="Take the newest rollback back instead.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def rollback(
    pipeline: str,
    root: Path | None,
    to: int | None,
    reason: str | None,
    undo: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Go back to the previous pushed version of PIPELINE, a pipeline.yaml or a push folder.

    Without --to, that is the newest earlier one with other weights that was not withdrawn. It is loaded, asked for a
    prediction, and published again under a new, larger number, since servers take the largest. The weights that are
    left are withdrawn: no run pushes them again, until training gives others or --undo allows them.

    --undo takes the newest rollback back: the withdrawn version is published again, unless it is gone or another one
    was pushed since; then the next run judges its weights anew.

    --json prints: folder, from and to (versions), version (the new one), path, withdrawn, allowed, reason, dry_run, and
    of old versions trashed, swept, left_alone.
    """
    from checkpoint_gate.pusher.rollback import NO_REASON
    from checkpoint_gate.rules.records import dump_json
    from gated_pipelines.running.rollback import find_target, go_back, json_of, words_of

    if undo and to is not None:
        raise click.UsageError("Give either --to or --undo.")
    why = reason or NO_REASON
    done = go_back(find_target(pipeline, root), to, why, undo, dry_run)
    if as_json:
        click.echo(dump_json(json_of(done, why, dry_run)))
    for line in words_of(done, why, dry_run):
        click.echo(line, err=as_json)


@cli.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.option("--data", "csv", required=True, type=click.Path(path_type=Path), help="The CSV file.")
@click.option("--label", required=True, help="The column to predict.")
@click.option(
    "--task", type=click.Choice(["regression", "binary", "multiclass"]), help="Told by the label if not given."
)
def new(directory: Path, csv: Path, label: str, task: str | None) -> None:
    """Write DIRECTORY/pipeline.yaml for a CSV of your own."""
    from gated_pipelines.tables.scaffold import draft_pipeline

    draft = draft_pipeline(csv, label, directory, task)
    path = draft.write()
    for line in draft.words():
        click.echo(line)
    click.echo(f"Wrote {path}. Run it with: gated-pipeline run {path}")


for command in (compile_command, lint, prune, rehearse, submit, schedule, history, schema, data):
    cli.add_command(command)


def main() -> None:
    """Runs the command; an error raised on purpose becomes one sentence and exit code 1."""
    try:
        cli()
    except CheckpointGateError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
