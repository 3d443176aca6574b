"""`gated-pipeline schedule local` and `gated-pipeline schedule print`."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import click


class _Folder(click.Path):
    """A folder of this machine: a URL would become a folder named so."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if "://" in str(value):
            self.fail(f"must be a folder of this machine. Received: {value}", param, ctx)
        return super().convert(value, param, ctx)


_pipeline = click.argument("pipeline", type=click.Path(path_type=Path))
_root = click.option(
    "--root",
    type=_Folder(path_type=Path, file_okay=False),
    help="Everything the runs make goes below this folder.  [default: runs/<the pipeline file's folder>]",
)


@click.command("local")
@_pipeline
@click.option("--cron", "cron_text", help='When: five fields, as "0 3 * * *", or six, seconds first; in local time.')
@click.option("--once", is_flag=True, help="Run once, now, as cron or systemd do it.")
@_root
@click.option("--json", "as_json", is_flag=True, help="End each run with one JSON object as a line on standard output.")
def local(pipeline: Path, cron_text: str | None, once: bool, root: Path | None, as_json: bool) -> None:
    """Run PIPELINE (a pipeline.yaml) again and again, in the foreground.

    Where nothing is new (the same data by content, rules, settings and code) a run is skipped within seconds. One runs
    at a time; of the times missed meanwhile one is made up for; a run that fails does not keep the next one. SIGTERM
    and Ctrl-C let the run that is at work end.
    """
    from gated_pipelines.running.rollback import default_root

    if once == (cron_text is not None):
        raise click.UsageError("Give either --cron or --once.")
    root = (root or default_root(pipeline)).expanduser()
    if cron_text is None:
        from gated_pipelines.reporting.words import tell_end
        from gated_pipelines.running.local import run_command

        sys.exit(tell_end(run_command(pipeline, root, scheduled=True), as_json))
    from gated_pipelines.config.pipeline_config import load_config
    from gated_pipelines.cron import read_cron
    from gated_pipelines.local_schedule.foreground import Foreground, in_local_time, once_command

    cron = in_local_time(read_cron(cron_text))
    load_config(pipeline)  # a file that is wrong now is told now, rather than at night

    def ended(output: str, code: int) -> None:
        if as_json:
            click.echo(_last_object(output) or _died(code))

    command = once_command(str(pipeline.absolute()), str(root.absolute()))
    Foreground(command, lambda words: click.echo(words, err=True), ended).serve(cron)


def _last_object(output: str) -> str:
    """The line with which a run ends; "" where it came to no such end."""
    lines = output.split("\n")
    return next((line for line in reversed(lines) if line.startswith("{") and line.endswith("}")), "")


def _died(code: int) -> str:
    """The same of a run that did not come to its end."""
    from gated_pipelines.local_schedule.foreground import how_it_ended
    from gated_pipelines.reporting.summary import Summary

    return Summary(reason=how_it_ended(code)).to_json()


@click.command("print")
@_pipeline
@click.option("--cron", "cron_text", required=True, help='When: five fields, as "0 3 * * *"; in local time.')
@click.option("--for", "kind", type=click.Choice(["crontab", "systemd"]), required=True, help="Who is to run it.")
@_root
@click.option(
    "--into", type=click.Path(path_type=Path, file_okay=False), help="For systemd: write both units into this folder."
)
def print_lines(pipeline: Path, cron_text: str, kind: str, root: Path | None, into: Path | None) -> None:
    """Print the crontab line, or the systemd units, that run PIPELINE (a pipeline.yaml)."""
    from gated_pipelines.config.pipeline_config import load_config
    from gated_pipelines.cron import read_cron
    from gated_pipelines.local_schedule.lines import Task, crontab_line, service_unit, timer_unit, write_units
    from gated_pipelines.running.rollback import default_root

    if kind == "crontab" and into is not None:
        raise click.UsageError("--into is for systemd: a crontab's line goes where crontab -e puts it.")
    cron = read_cron(cron_text)
    found = shutil.which("gated-pipeline") or str(Path(sys.executable).with_name("gated-pipeline"))
    root = (root or default_root(pipeline)).expanduser().absolute()
    task = Task(load_config(pipeline).name, Path(found), pipeline.absolute(), root)
    if kind == "crontab":
        click.echo(crontab_line(cron, task), nl=False)
        if cron.zone:
            click.echo(
                "Debian's and Ubuntu's cron ignore CRON_TZ, and take the time for that of the machine: write it so "
                "there, or use systemd.",
                err=True,
            )
        return
    units = {f"{task.name}.service": service_unit(task), f"{task.name}.timer": timer_unit(cron, task)}
    if into is None:
        for name, text in units.items():
            click.echo(f"# {name}\n{text}")
    else:
        for path in write_units(units, into):
            click.echo(str(path))
    click.echo(f"Then: systemctl --user enable --now {task.name}.timer", err=True)
    click.echo("So that it runs while you are not logged in: loginctl enable-linger", err=True)
