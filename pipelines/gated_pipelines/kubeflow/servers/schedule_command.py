"""`gated-pipeline schedule kubeflow`: schedules that a server keeps."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import click

from gated_pipelines.kubeflow.servers.backend import Backend, Change, Request, Schedule
from gated_pipelines.kubeflow.servers.job_options import job_of, job_options
from gated_pipelines.kubeflow.servers.server_options import server_of, server_options

_TIME = click.DateTime(["%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d"])


@click.group("kubeflow")
def kubeflow() -> None:
    """Run compiled pipelines again and again, on Kubeflow Pipelines or Vertex AI."""


@kubeflow.command()
@click.argument("compiled", type=click.Path(path_type=Path))
@click.option("--cron", "cron_text", required=True, help='When: five fields, as "0 3 * * *", or six, seconds first.')
@click.option("--name", help="The schedule's.  [default: the pipeline's]")
@click.option(
    "--start",
    type=_TIME,
    metavar="TIME",
    help="Not before this time, as 2027-01-01T06:00; in UTC where it has no zone.",
)
@click.option("--end", type=_TIME, metavar="TIME", help="Not after this time.")
@job_options
@click.option("--replace", "replacing", is_flag=True, help="Replace schedules of this name that do something else.")
@click.option("--dry-run", is_flag=True, help="Print the requests that would be sent, as JSON; ask no server.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@server_options
def create(
    compiled: Path,
    cron_text: str,
    name: str | None,
    start: datetime | None,
    end: datetime | None,
    replacing: bool,
    dry_run: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Run COMPILED (a file that gated-pipeline compile wrote) at the times of a cron expression.

    A run does not begin while the one before it goes on. Of the times that passed meanwhile, Kubeflow Pipelines makes
    up for the latest, by one run at once; Vertex AI for none. The same command again changes nothing.

    --json prints: outcome (created, replaced or unchanged), name, id, url, cron, paused, next.
    """
    from gated_pipelines.cron import read_cron
    from gated_pipelines.kubeflow.servers.backend import Timing
    from gated_pipelines.kubeflow.servers.scheduling import from_now, make, next_times, told_times, utc

    server = server_of(options)
    job = job_of(compiled, server, options)
    now = datetime.now(timezone.utc)
    timing = from_now(Timing(name or job.pipeline.name, read_cron(cron_text), utc(start), utc(end)), now)
    server.check(timing)
    times = next_times(timing, now)
    if dry_run:
        _print_requests(server.create_requests(job, timing))
        click.echo(f"It would run next at {told_times(times)}.", err=True)
        return
    made = make(server.connect(), job, timing, replacing)
    schedule = made.schedule
    click.echo(f"The schedule {schedule.name} is {made.outcome}: {schedule.url}", err=as_json)
    if schedule.paused:
        click.echo("It is paused: gated-pipeline schedule kubeflow resume.", err=as_json)
    else:
        click.echo(f"It runs next at {told_times(times)}.", err=as_json)
    if as_json:
        told = {"outcome": made.outcome, **_fields(schedule), "next": [time.isoformat() for time in times]}
        click.echo(json.dumps(told))


@kubeflow.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
@server_options
def list_schedules(as_json: bool, **options: Any) -> None:
    """List the schedules that the server keeps.

    --json prints of each: name, id, url, cron, paused.
    """
    schedules = server_of(options).connect().schedules()
    if as_json:
        click.echo(json.dumps([_fields(schedule) for schedule in schedules]))
        return
    for schedule in schedules:
        state = "paused" if schedule.paused else "active"
        click.echo(f"{schedule.name}  {state}  {schedule.cron or '-'}  {schedule.id}")


def _changing(
    name: Change, done: str, apply: Callable[[Backend, Schedule], None], paused: bool | None = None, note: str = ""
) -> None:
    """Adds a command that changes one schedule.

    Args:
      name: the command's.
      done: what the schedule is then, in words.
      apply: changes it.
      paused: whether it is paused then; where it is so already, nothing is sent. None: it is sent in any case.
      note: what Kubeflow Pipelines does then, in a sentence.
    """

    @kubeflow.command(name, help=f"{name.capitalize()} the schedule with this NAME, or with this id. {note}")
    @click.argument("schedule", metavar="NAME")
    @click.option("--dry-run", is_flag=True, help="Print the request that would be sent, as JSON; ask no server.")
    @server_options
    def change(schedule: str, dry_run: bool, **options: Any) -> None:
        from gated_pipelines.kubeflow.servers.scheduling import find

        server = server_of(options)
        if dry_run:
            _print_requests(server.change_requests(name))
            return
        backend = server.connect()
        found = find(backend, schedule)
        if paused is not None and found.paused is paused:
            click.echo(f"The schedule {found.name} is {done} already.")
            return
        apply(backend, found)
        click.echo(f"The schedule {found.name} is {done}.")
        if note and not server.vertex:
            click.echo(note)


_changing("pause", "paused", lambda backend, schedule: backend.pause(schedule), paused=True)
_changing(
    "resume",
    "active",
    lambda backend, schedule: backend.resume(schedule),
    paused=False,
    note="If one of its times passed meanwhile, Kubeflow Pipelines begins a run at once.",
)
_changing("delete", "deleted", lambda backend, schedule: backend.delete(schedule))


def _print_requests(requests: Sequence[Request]) -> None:
    click.echo(json.dumps([request.to_json() for request in requests], indent=2))


def _fields(schedule: Any) -> dict[str, Any]:
    return {field: getattr(schedule, field) for field in ("name", "id", "url", "cron", "paused")}
