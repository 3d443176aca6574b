"""`checkpoint-gate undelete`, `pin` and `unpin`: what a person changes in a store."""

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
    from checkpoint_gate.store.undeleting import undelete as bring_back

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
@click.option("--note", metavar="TEXT", required=True, help="Why it is kept; stands in every plan that spares it.")
@json_option
def pin(store: str, key: str | None, step: int, note: str, as_json: bool) -> None:
    """Keep a checkpoint of STORE from every pruning, whatever the rules say."""
    from checkpoint_gate.store import Store

    if not note.strip():
        raise click.UsageError("--note must say why the checkpoint is kept.")
    home = Store.open(store)
    run = home.run(one_run(home, key))
    _pin(run, step, note)
    if as_json:
        print_json({"run": run.key, "step": step, "pinned": True, "note": note, "revision": home.revision()})
    say(f"Step {step} of {run.key} is pinned: {note}.")


@click.command(short_help="Let a checkpoint be pruned again.")
@store_argument
@_run
@_step
@click.option("--note", metavar="TEXT", help="Why it need not be kept any more.")
@json_option
def unpin(store: str, key: str | None, step: int, note: str | None, as_json: bool) -> None:
    """Take the pin of a checkpoint of STORE away: the next pruning goes by the rules."""
    from checkpoint_gate.store import Store

    home = Store.open(store)
    run = home.run(one_run(home, key))
    before = _unpin(run, step)
    if as_json:
        value = {"run": run.key, "step": step, "pinned": False, "note": note, "revision": home.revision()}
        print_json(value | {"note_before": before})
    why = "" if note is None else f": {note}"
    say(f"Step {step} of {run.key} is no longer pinned{why}. It had been, with the note: {before}.")


def _pin(run: Run, step: int, note: str) -> None:
    from checkpoint_gate.errors import StoreError

    live = {stored.step for stored in run.live()}
    if step not in live:
        raise StoreError(f"Step {step} of {run.key} has no live checkpoint to pin. Live are: {some(live)}.")
    run.pin(step, note)
    if step not in {stored.step for stored in run.live()}:  # a pruning came in between; the pin keeps it in the trash
        raise StoreError(f"Step {step} of {run.key} was pruned just now. Bring it back: checkpoint-gate undelete.")


def _unpin(run: Run, step: int) -> str:
    """Takes the pin away, and answers with its note."""
    from checkpoint_gate.errors import StoreError

    pins = run.pins()
    if step not in pins:
        raise StoreError(f"Step {step} of {run.key} is not pinned. Pinned are: {some(pins)}.")
    run.unpin(step)
    return pins[step]
