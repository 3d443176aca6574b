"""What cron and systemd are to be told, so that they run a pipeline."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from cronsim import CronSim

from checkpoint_gate.errors import ConfigError
from gated_pipelines.cron import Cron

_DAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")


@dataclass(frozen=True, slots=True)
class Task:
    """One scheduled run: absolute paths.

    Attributes:
      name: the pipeline's.
      program: `gated-pipeline`.
    """

    name: str
    program: Path
    pipeline: Path
    root: Path

    def command(self) -> list[str]:
        """What is to be run."""
        return [str(self.program), "schedule", "local", str(self.pipeline), "--once", "--root", str(self.root)]


def crontab_line(cron: Cron, task: Task) -> str:
    """A line for `crontab -e`.

    Raises:
      ConfigError: the expression has seconds, which cron does not know.
    """
    # cron ends a command at a percent sign; the shell that it starts does not see the backslash.
    command = shlex.join(task.command()).replace("%", r"\%")
    zone = f"CRON_TZ={cron.zone}\n" if cron.zone else ""
    return f"{zone}{cron.five()} {command}\n"


def service_unit(task: Task) -> str:
    """The systemd service that runs a pipeline once."""
    return f"""\
[Unit]
Description=Train, and push what is better: {task.name}

[Service]
Type=oneshot
ExecStart={" ".join(map(_systemd_word, task.command()))}
# Training saves its state when it is told to end, and goes on from there.
KillMode=mixed
TimeoutStopSec=120
"""


def timer_unit(cron: Cron, task: Task) -> str:
    """The systemd timer that starts the service; a time that was missed is made up for once."""
    times = "\n".join(f"OnCalendar={time}" for time in on_calendar(cron))
    return f"""\
[Unit]
Description=When to train {task.name}

[Timer]
{times}
Persistent=true

[Install]
WantedBy=timers.target
"""


def write_units(units: Mapping[str, str], folder: Path) -> list[Path]:
    """Writes systemd units, name -> text, in place of earlier ones that run the same; answers with the files.

    Raises:
      ConfigError: a unit of such a name runs something else, or the folder cannot be written.
    """
    paths = [folder / name for name in units]
    try:
        for path, text in zip(paths, units.values(), strict=True):
            there = path.read_text(encoding="utf-8") if path.exists() else text
            if _start(there) != _start(text):
                raise ConfigError(
                    f"{path} is there already and runs something else ({_start(there)}): give the pipeline another "
                    "name, or remove the file."
                )
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in zip(paths, units.values(), strict=True):
            path.write_text(text, encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The units cannot be written to {folder}: {error}.") from error
    return paths


def _start(unit: str) -> str:
    """What a service runs; "" for a timer."""
    return next((line for line in unit.splitlines() if line.startswith("ExecStart=")), "")


def on_calendar(cron: Cron) -> list[str]:
    """The same times as calendar events of systemd.time(7).

    Cron runs on a day that either of day of month and day of week names; systemd on one that both name.
    """
    read = CronSim(cron.six(), datetime.now(timezone.utc))
    second, minute, hour, day, month, weekday = cron.fields
    clock = f"{_some(read.hours, hour)}:{_some(read.minutes, minute)}:{_some(read.seconds, second)}"
    zone = f" {cron.zone}" if cron.zone else ""
    months, days = _some(read.months, month), _some(read.days, day)
    on_days = f"*-{months}-{days} {clock}{zone}"
    week = ",".join(_DAYS[number % 7] for number in sorted(read.weekdays))
    on_week = f"{week} *-{months}-* {clock}{zone}"
    if weekday == "*":
        return [on_days]
    if day == "*":
        return [on_week]
    both = f"{week} *-{months}-{days} {clock}{zone}"
    return [both] if "*" in (day[0], weekday[0]) else [on_days, on_week]


def _some(numbers: Iterable[int], field: str) -> str:
    return "*" if field == "*" else ",".join(f"{number:02d}" for number in sorted(numbers))


def _systemd_word(word: str) -> str:
    """A word of a command line, by systemd.service(5): `%` and `$` are doubled, blanks stand in quotes."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"' if escaped != word or any(c.isspace() or c in "'\";" for c in word) else word
