"""`checkpoint-gate undelete` and `checkpoint-gate pin`: what a person changes in a store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from checkpoint_gate.cli.words import json_option, one_run, print_json, say, some, store_argument

if TYPE_CHECKING:
    from checkpoint_gate.store import Run

_run = click.option("--run", "key", metavar="KEY", help="The run; may be left out where the store has only one.")
_step = click.option("--step", type=click.IntRange(min=0), required=True, help="The checkpoint's step.")


@click.command(short_help="Bring a checkpoint back from the trash.")
@store_argument
@_run
@_step
@json_option
def undelete(store: str, key: str | None, step: int, as_json: bool) -> None:
    """Bring a checkpoint of STORE back from the trash.

    Every byte is verified first. Pin it as well, or the next pruning by the same rules takes it away again.
    """
    from checkpoint_gate.store import Store
    from checkpoint_gate.store.pruning import undelete as bring_back

    home = Store.open(store)
    run = home.run(one_run(home, key))
    with run.lease("undeleting") as lease:
        place = run.files.place(bring_back(run, step, lease))
    if as_json:
        print_json({"run": run.key, "step": step, "path": place, "revision": home.revision()})
    else:
        click.echo(place)
    say(f"Step {step} of {run.key} is back. Pin it, or the next pruning by the same rules takes it away again.")


@click.command(short_help="Keep a checkpoint from every pruning.")
@store_argument
@_run
@_step
@click.option("--note", metavar="TEXT", help="Why it is kept; stands in every plan that would have removed it.")
@click.option("--remove", is_flag=True, help="Take the pin away.")
@json_option
def pin(store: str, key: str | None, step: int, note: str | None, remove: bool, as_json: bool) -> None:
    """Keep a checkpoint of STORE from every pruning, whatever the rules say."""
    from checkpoint_gate.store import Store

    if remove == (note is not None):
        raise click.UsageError("Give either --note TEXT or --remove.")
    if note is not None and not note.strip():
        raise click.UsageError("--note must say why the checkpoint is kept.")
    home = Store.open(store)
    run = home.run(one_run(home, key))
    if note is None:
        _unpin(run, step)
    else:
        _pin(run, step, note)
    if as_json:
        value = {"run": run.key, "step": step, "pinned": not remove, "note": note, "revision": home.revision()}
        print_json(value)
    say(f"Step {step} of {run.key} is {'no longer pinned' if remove else f'pinned: {note}'}.")


def _pin(run: Run, step: int, note: str) -> None:
    from checkpoint_gate.errors import StoreError

    live = {stored.step for stored in run.live()}
    if step not in live:
        raise StoreError(f"Step {step} of {run.key} has no live checkpoint to pin. Live are: {some(live)}.")
    run.pin(step, note)
    if step not in {stored.step for stored in run.live()}:  # a pruning came in between; the pin keeps it in the trash
        raise StoreError(f"Step {step} of {run.key} was pruned just now. Bring it back: checkpoint-gate undelete.")


def _unpin(run: Run, step: int) -> None:
    from checkpoint_gate.errors import StoreError

    pins = run.pins()
    if step not in pins:
        raise StoreError(f"Step {step} of {run.key} is not pinned. Pinned are: {some(pins)}.")
    run.unpin(step)
