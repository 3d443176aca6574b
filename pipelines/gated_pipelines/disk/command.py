"""`gated-pipeline prune`."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import click

from checkpoint_gate.cli.words import print_json, say


@click.command(short_help="Plan the removal of old runs; do it only when told to.")
@click.argument("pipeline", type=click.Path(path_type=Path))
@click.option("--root", type=click.Path(path_type=Path, file_okay=False), help="That of the runs, as for run.")
@click.option(
    "--keep-runs",
    type=click.IntRange(min=1),
    metavar="N",
    help="Keep what the newest N runs used.  [default: disk.keep_runs of PIPELINE]",
)
@click.option("--execute", "digest", metavar="DIGEST", help="Carry out the plan that was printed with this digest.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def prune(pipeline: Path, root: Path | None, keep_runs: int | None, digest: str | None, as_json: bool) -> None:
    """Plan what of the old runs of PIPELINE (a pipeline.yaml) goes, and remove it only when told to.

    What the newest runs used, or took from the cache, stays; so does all that the live versions in the push folder were
    made of, and what an execution that has not ended uses. Old artifacts, staged tables and logs are freed; old runs in
    the store keep what tells of them, and their checkpoints go to the store's trash, except pinned ones and those of
    live versions.

    Without --execute nothing is changed: the plan is printed, and a digest. With --execute and that digest exactly this
    plan is carried out, or refused if it is another one by now.

    --json prints: digest, executed, bytes (freed at once), to_trash_bytes, freed_bytes, trashed_bytes, going (kind,
    path, bytes, last_used, artifact, type), uncached (artifacts that the cache gives no more), runs (run, steps, bytes,
    at_once_bytes, staying), staying (artifact, uri, type, bytes, reason), unknown (path, bytes), left (sentences).
    """
    from checkpoint_gate.quantities import format_size
    from gated_pipelines.config.pipeline_config import load_config
    from gated_pipelines.disk.bounds import bounds_of, require_runs
    from gated_pipelines.disk.planning import plan_disk
    from gated_pipelines.disk.pruning import execute, metadata_of, reading
    from gated_pipelines.disk.words import plan_json, plan_lines
    from gated_pipelines.running.places import Places
    from gated_pipelines.running.rollback import default_root

    if digest is not None and not re.fullmatch("[0-9a-f]{64}", digest):
        raise click.UsageError(f"--execute must be the digest that was printed with the plan. Received: {digest!r}.")
    config = load_config(pipeline)
    places = Places((root or default_root(pipeline)).expanduser().absolute())
    bounds = bounds_of(config, keep_runs)
    require_runs(places, bounds, pipeline)
    push_folder = config.push.under(places.root)
    done = None
    if digest is not None:
        plan, done = execute(places, push_folder, bounds, digest)
    else:
        with reading(places):
            plan = plan_disk(places, push_folder, bounds, metadata_of(places))
    if as_json:
        print_json(plan_json(plan, done))
    else:
        for line in plan_lines(plan, done is not None):
            click.echo(line)
    if done is not None:
        say(f"Freed: {format_size(done.freed)}; moved to the store's trash: {format_size(done.trashed)}.")
    elif plan.is_empty:
        say("There is nothing to remove.")
    else:
        say("Nothing was removed. To do exactly this:")
        say(f"  {_again(pipeline, root, keep_runs)} --execute {plan.digest}")
    left = (*plan.left, *(done.left if done is not None else ()))
    for what in left:
        say(f"Left alone: {what}")
    sys.exit(1 if left else 0)


def _again(pipeline: Path, root: Path | None, keep_runs: int | None) -> str:
    words = ["gated-pipeline", "prune", str(pipeline)]
    words += ["--root", str(root)] if root is not None else []
    words += ["--keep-runs", str(keep_runs)] if keep_runs is not None else []
    return shlex.join(words)
