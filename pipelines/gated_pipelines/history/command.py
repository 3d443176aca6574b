"""`gated-pipeline history`: every run of a pipeline."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("pipeline", type=click.Path(path_type=Path))
@click.option("--root", type=click.Path(path_type=Path, file_okay=False), help="That of the runs, as for run.")
@click.option("--last", type=click.IntRange(min=1), metavar="N", help="Only the newest N runs.")
@click.option(
    "--plot",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Draw the metric and the disk over the runs into FILE: .svg, .png or .pdf.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def history(pipeline: Path, root: Path | None, last: int | None, plot: Path | None, as_json: bool) -> None:
    """List every run of PIPELINE (a pipeline.yaml): why it ran or was skipped, and what came of it.

    --json prints of each run: id, state (ended, running or died), began, ended (seconds since 1970), trigger (schedule
    or by hand), why, skipped, outcome, green, reason, spans, rows, saved, refused, survivors, pushed, champion_before,
    champion (versions), metric (name, challenger, champion, best), seconds, disk (bytes by part), work (digests),
    pipeline (its name), asked_span (the last span, where somebody asked for one).
    """
    from rich.console import Console

    from checkpoint_gate.rules.records import dump_json
    from gated_pipelines.history.history import History, to_json, unreadable_in_words
    from gated_pipelines.history.words import page
    from gated_pipelines.running.rollback import default_root

    log = History((root or default_root(pipeline)).expanduser().absolute())
    name = _name_of(pipeline)
    found = log.read(name)
    if not name and len({past.told.pipeline for past in found.past}) > 1:
        click.echo(f"{pipeline} cannot be read: the runs of every pipeline below the root are listed.", err=True)
    runs = found.past[-last:] if last is not None else found.past
    if lines := found.unreadable:
        which = f"line{'s' if len(lines) > 1 else ''} {', '.join(map(str, lines))}"
        click.echo(f"{unreadable_in_words(lines)}: {which} of {log.path}.", err=True)
    if plot is not None:
        from gated_pipelines.history.plot import draw

        draw(runs, plot)
        click.echo(f"The plot is in {plot}.", err=True)
    if as_json:
        click.echo(dump_json([to_json(past) for past in runs]))
    elif runs:
        console = Console(highlight=False)
        console.print(page(runs, console.width))
    else:
        click.echo(f"There is no run yet below {log.path.parent}.", err=True)


def _name_of(pipeline: Path) -> str:
    """The pipeline's name; "" stands for every pipeline of the root, where the file cannot be read."""
    from checkpoint_gate.errors import CheckpointGateError
    from gated_pipelines.config.pipeline_config import load_config

    try:
        return load_config(pipeline).name
    except CheckpointGateError:
        return ""
