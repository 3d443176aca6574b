"""The command `checkpoint-gate`: what a store holds and why, on the command line. No TensorFlow, no TFX.

Only click is imported when the command starts; each subcommand imports the rest of what it needs when it runs.
"""

from __future__ import annotations

import gc
from typing import Any

import click

from checkpoint_gate.cli.by_hand import pin, undelete, unpin
from checkpoint_gate.cli.check import check
from checkpoint_gate.cli.listing import list_checkpoints
from checkpoint_gate.cli.prune import prune
from checkpoint_gate.cli.replay import replay
from checkpoint_gate.cli.report import report
from checkpoint_gate.cli.suggest import suggest
from checkpoint_gate.cli.why import why
from checkpoint_gate.cli.words import shown
from checkpoint_gate.errors import CheckpointGateError, sentence

__all__ = ["cli", "main"]


class _Group(click.Group):
    """Turns an error raised on purpose, and one of the operating system that names a file, into one sentence and exit
    code 1; any other is a bug and shows itself.
    """

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except CheckpointGateError as error:
            raise click.ClickException(shown(str(error))) from error
        except OSError as error:
            if error.filename is None:
                raise
            raise click.ClickException(shown(sentence(error))) from error


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="checkpoint-gate")
def cli() -> None:
    """Look into a checkpoint store: what was saved, what was refused, what was pruned, and why.

    Data go to standard output, words to standard error. For people, epochs count from 1, as in the training log; in
    --json and in options they count from 0, as in the ledger.

    Exit code 0: done; 1: an error, told in one sentence, or faults found; 2: wrong usage.
    """


for _command in (list_checkpoints, why, report, replay, suggest, check, prune, undelete, pin, unpin):
    cli.add_command(_command)


def main() -> None:
    """Runs the command and exits."""
    # A command is over in a moment, and what it reads makes no cycles: looking for them takes an eighth of its time.
    gc.set_threshold(100_000, 50, 100)
    cli()
