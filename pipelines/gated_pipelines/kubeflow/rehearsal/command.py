"""`gated-pipeline rehearse`."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from checkpoint_gate.errors import CheckpointGateError

if TYPE_CHECKING:
    from checkpoint_gate.store.lease import Lease


@click.command()
@click.argument("compiled", type=click.Path(path_type=Path))
@click.option(
    "--root",
    metavar="DIR",
    help="Takes the place of the compiled root: everything goes below it.  [default: a new one in runs/rehearsals]",
)
@click.option("--parameter", "-p", "given", multiple=True, metavar="NAME=VALUE", help="A parameter of the pipeline.")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The table, or the tables with {SPAN} in their name; short for -p data=PATH.",
)
@click.option(
    "--mode",
    type=click.Choice(["open-source", "vertex"]),
    help="Whose driver and launcher to be like.  [default: open-source]",
)
@click.option(
    "--from", "start", metavar="TASK", help="Begin with it, with what the last rehearsal in the root made before it."
)
@click.option("--retries", type=click.IntRange(min=0), help="Of each task that fails.  [default: as the file says]")
@click.option("--jobs", type=click.IntRange(min=1), default=2, show_default=True, help="Tasks at the same time.")
@click.option("--json", "as_json", is_flag=True, help="End with one JSON object as the last line of standard output.")
def rehearse(
    compiled: Path,
    root: str | None,
    given: tuple[str, ...],
    data: Path | None,
    mode: Any,
    start: str | None,
    retries: int | None,
    jobs: int,
    as_json: bool,
) -> None:
    """Run COMPILED, a file made by compile, task by task on this machine.

    Each task runs as its container would: the same command, the same arguments, with the inputs that the driver of
    open-source Kubeflow Pipelines or of Vertex AI would give it. The image is not used, the Python that runs this
    command is; nor are resources, caching and the waiting between retries.

    DIR may be gs://, minio:// or s3:// in open-source mode: then the artifacts are kept where a pod has them on its
    disk, below runs/rehearsals, and the table, the store and the push folder in the bucket.

    --json prints: tasks (name, state, seconds, attempts, log), outputs (of each task, URIs), mode, root, id, seconds,
    and what run --json tells: winner, blessed, pushed, outcome, reason and so on.
    """
    from gated_pipelines.kubeflow.rehearsal.outcome import how_to_go_on, show, summarise, to_json
    from gated_pipelines.kubeflow.rehearsal.plan import make_plan
    from gated_pipelines.kubeflow.rehearsal.progress import TaskTable
    from gated_pipelines.kubeflow.rehearsal.rehearsing import Rehearsal
    from gated_pipelines.reporting.summary import Summary

    console = Console(stderr=True, highlight=False)
    since = time.time()
    if data is not None:
        if any(text.partition("=")[0] == "data" for text in given):
            raise click.UsageError("Give either --data or -p data=….")
        given = (*given, f"data={data.absolute()}")
    try:
        plan = make_plan(compiled, root, given, mode, start)
        lease = _take_lease(plan.folder)
    except CheckpointGateError as error:
        if as_json:
            click.echo(Summary(reason=str(error)).to_json())
        raise
    words = f"Rehearsing {plan.compiled.name} as {plan.run.mode}, below {plan.root}; images are not used."
    console.print(words, soft_wrap=True)
    if "root" not in plan.compiled.parameters:
        words = "The file has no parameter root: what its tasks write elsewhere than to their outputs stays there."
        console.print(words, soft_wrap=True)
    try:
        with TaskTable(console) as table:
            rehearsal = Rehearsal(plan, jobs, retries, table)
            stopped = rehearsal.run()
    finally:
        lease.release()
    summary = summarise(plan, rehearsal.reports, stopped, since)
    show(plan, rehearsal.reports, summary, Console(stderr=as_json, highlight=False))
    if stopped is not None:
        click.echo(f"Error: {summary.reason} Go on with: {how_to_go_on(compiled, plan, stopped)}", err=True)
    if as_json:
        click.echo(to_json(plan, rehearsal.reports, summary, time.time() - since))
    if stopped is not None:
        sys.exit(128 + stopped.signal if stopped.signal else 1)


def _take_lease(folder: Path) -> Lease:
    """One rehearsal or run at a time in a folder."""
    from checkpoint_gate.store.files import LocalFiles
    from checkpoint_gate.store.lease import Lease
    from gated_pipelines.running.job import check_writable

    check_writable(folder, "The root folder", "Choose another one with --root")
    lease = Lease(LocalFiles(folder), "run.lease", "rehearsing a pipeline", time.time)
    lease.acquire()
    return lease
