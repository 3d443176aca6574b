"""`gated-pipeline submit`."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import click

from gated_pipelines.kubeflow.servers.job_options import job_of, job_options
from gated_pipelines.kubeflow.servers.server_options import server_of, server_options


@click.command()
@click.argument("compiled", type=click.Path(path_type=Path))
@job_options
@click.option("--wait", "waiting", is_flag=True, help="Tell the progress, and end with the run: 0 if it succeeds.")
@click.option("--dry-run", is_flag=True, help="Print the requests that would be sent, as JSON; ask no server.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@server_options
def submit(
    compiled: Path,
    waiting: bool,
    dry_run: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Run COMPILED (a file that gated-pipeline compile wrote) on Kubeflow Pipelines or Vertex AI.

    The file is uploaded as a version named by a digest of its content, once. Credentials are found by the kfp SDK's
    and Google's own ways.

    --json prints: run_id, url, pipeline, version, uploaded, state (null without --wait).
    """
    from gated_pipelines.kubeflow.servers.submitting import ending, name_run, summary_of, wait

    server = server_of(options)
    job = job_of(compiled, server, options)
    name = name_run(job)
    if dry_run:
        click.echo(json.dumps([request.to_json() for request in server.submit_requests(job, name)], indent=2))
        return
    backend = server.connect()
    submitted = backend.submit(job, name)
    if not server.vertex:
        was = "uploaded" if submitted.uploaded else "which the server has already"
        click.echo(f"{job.pipeline.name}, version {submitted.version}, {was}.", err=as_json)
    click.echo(f"Run {submitted.run_id}: {submitted.url}", err=as_json)
    state = None
    if waiting:
        tell = partial(click.echo, err=as_json)
        progress = wait(backend, submitted.run_id, job.pipeline.tasks, tell, again=server.connect)
        state = progress.state
        if state != "succeeded":
            click.echo(f"Error: {ending(progress, submitted.url)}", err=True)
    if as_json:
        click.echo(json.dumps(summary_of(job, submitted, state)))
    sys.exit(0 if state in (None, "succeeded") else 1)
