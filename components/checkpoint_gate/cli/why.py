"""`checkpoint-gate why`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from checkpoint_gate.cli.provenance import chain_of
from checkpoint_gate.cli.words import (
    epoch_words,
    json_option,
    metric_words,
    print_array,
    print_json,
    print_table,
    run_option,
    show,
    some,
)

if TYPE_CHECKING:
    from checkpoint_gate.pushed.papers import Papers
    from checkpoint_gate.reviewing.explaining import Explanation
    from checkpoint_gate.store import Store

_STATES = {
    "kept": "kept",
    "trashed": "in the trash",
    "pruned": "pruned",
    "quarantined": "quarantined",
    "superseded": "set aside",
    "overtaken": "never written",
    "skipped": "skipped",
    "amended": "the epoch's",
    "missing": "missing",
    "lost": "lost",
    None: "none",
}
_TOLD_IN_FULL = 3  # more records than this become a table


@click.command(short_help="Say why each record was saved, refused or pruned.")
@click.argument("store", required=False)
@run_option
@click.option("--step", type=click.IntRange(min=0), help="Only the record of this optimizer step.")
@click.option("--epoch", type=click.IntRange(min=0), help="Only this epoch; counts from 0, as in the ledger.")
@click.option("--model", metavar="DIR", help="Explain a pushed model instead; a path or a URL.")
@click.option("--store", "given_store", metavar="STORE", help="The same as STORE.")
@json_option
def why(
    store: str | None,
    key: str | None,
    step: int | None,
    epoch: int | None,
    model: str | None,
    given_store: str | None,
    as_json: bool,
) -> None:
    """Say why each record of STORE was saved or refused, and what became of its checkpoint.

    For one record with --step or --epoch, which counts from 0 as in the ledger ("epoch 7" in words is --epoch 6);
    otherwise for all, those too that a resumed training has overtaken.

    With --model DIR (a pushed model, or the push folder, which stands for its newest version): the chain from the
    pushed model back to the record that let it through, as its papers tell it: when it was pushed and why it was
    blessed, among which survivors it was chosen and why, why the filter kept it and the gate saved it, its data and
    versions.
    If STORE is given, what the store says of the record too.

    --json prints an array with one object a record: run, step, epoch (from 0), at, metrics, save, reason, state
    (kept, trashed, pruned, quarantined, superseded, overtaken, skipped, amended, missing, lost, or null where there was
    never to be a checkpoint), pruned (by, rules, reason, time, swept; or null), superseded (when training resumed
    before it, or null), path, protected (by a pin, or as pushed; or null) and damage (of a quarantined one; or null).
    With --model, it prints one object: model, run, step, reason, metrics, rules_digest, record (as above, or null), and
    what else the papers say: origins (the records that let it through, with the gate's decision and the filter's
    verdict; several for an average), survivors, slices, slices_left_out, data, classes, versions, time, push (version,
    time, weights, replaces, blessing, rollback; or null).

    The state overtaken: a newer state overtook it while it waited to be written; skipped: there was no room for it.
    Amended: the last step of an epoch that was saved too, and of which the checkpoint tells. Missing: others removed
    the checkpoint; lost: so too, and a repair has taken note of it.
    """
    if store is not None and given_store is not None:
        raise click.UsageError("Give the store once, as STORE or with --store.")
    if step is not None and epoch is not None:
        raise click.UsageError("Give either --step or --epoch.")
    home = store or given_store
    if model is not None:
        if key is not None or step is not None or epoch is not None:
            raise click.UsageError("--model names the run and the step itself: leave --run, --step and --epoch out.")
        _why_model(model, home, as_json)
        return
    if home is None:
        raise click.UsageError("Give a STORE, or --model DIR.")
    _why_records(home, key, step, epoch, as_json)


def _why_records(place: str, key: str | None, step: int | None, epoch: int | None, as_json: bool) -> None:
    from checkpoint_gate.reviewing.catalog import chosen_runs
    from checkpoint_gate.reviewing.explaining import explain
    from checkpoint_gate.store import Store

    store = Store.open(place)
    found: list[Explanation] = []
    seen: list[Explanation] = []
    for run in chosen_runs(store, key):
        explained = explain(run)
        seen += explained
        found += [e for e in explained if step in (None, e.step) and epoch in (None, e.epoch)]
    if not found and (step is not None or epoch is not None):
        raise _nothing_found(store, key, step, epoch, seen)
    if as_json:
        print_array(e.to_json() for e in found)
    elif len(found) <= _TOLD_IN_FULL:
        show("\n\n".join("\n".join(told(e)) for e in found))
    else:
        _print_all(found)


def _nothing_found(
    store: Store, key: str | None, step: int | None, epoch: int | None, seen: Sequence[Explanation]
) -> Exception:
    from checkpoint_gate.errors import RunMissing

    where = f"The run {key}" if key is not None else f"The store {store.root}"
    if step is not None:
        return RunMissing(f"{where} has no record of step {step}. It has the steps: {some(e.step for e in seen)}.")
    epochs = some(e.epoch for e in seen if e.epoch is not None)
    return RunMissing(f"{where} has no record of --epoch {epoch}. It has, counted from 0: {epochs}.")


def told(e: Explanation) -> list[str]:
    """One record in words, a line each."""
    from checkpoint_gate.quantities import format_time

    decided = {True: "saved", False: "refused", None: "not in the ledger"}[e.save]
    state = f", checkpoint {_STATES[e.state]}" if e.state is not None else ""
    between = ", within the epoch" if e.at == "step" else ""
    lines = [f"epoch {epoch_words(e.epoch)}, step {e.step} of {e.run}{between}: {decided}{state}"]
    lines.append(f"  why       {e.reason}")
    lines.append(f"  metrics   {metric_words(e.metrics) or 'none'}")
    if e.pruned is not None and e.state == "lost":
        lines.append(f"  lost      {e.pruned['reason']}; taken for lost {format_time(e.pruned['time'])}")
    elif e.pruned is not None:
        rules = f", rules {str(e.pruned['rules'])[:12]}" if e.pruned["rules"] else ""
        lines.append(f"  pruned    {format_time(e.pruned['time'])} by {e.pruned['by']}{rules}: {e.pruned['reason']}")
        swept = e.pruned["swept"]
        what = f"its bytes were freed {format_time(swept)}" if swept else "undelete brings it back until it is swept"
        lines.append(f"            {what}" if e.state == "trashed" or swept else "            its bytes are gone")
    if e.damage is not None:
        lines.append(f"  damage    {e.damage}")
    if e.protected is not None:
        lines.append(f"  protected {e.protected}")
    if e.superseded is not None:
        lines.append(f"  overtaken {format_time(e.superseded)}: training resumed before it, so it does not count")
    if e.state == "overtaken":
        lines.append("  unwritten a newer state overtook it, or it was never given to save")
    if e.state == "skipped":
        lines.append("  unwritten there was no room for it, and training went on (on_no_room)")
    if e.state == "amended":
        lines.append("  amended   the epoch that ended with this step was saved too: the checkpoint tells of that")
    if e.state == "missing":
        lines.append("  missing   the store has neither the checkpoint nor a tombstone: it was not pruned by this tool")
    if e.path is not None:
        lines.append(f"  path      {e.path}")
    return lines


def _print_all(found: Sequence[Explanation]) -> None:
    several = len({e.run for e in found}) > 1
    decided = {True: "saved", False: "refused", None: "?"}
    rows = []
    for e in found:
        reason = e.reason
        if e.pruned is not None:
            reason += f"; {'lost' if e.state == 'lost' else 'pruned'}: {e.pruned['reason']}"
        if e.damage is not None:
            reason += f"; damage: {e.damage}"
        if e.superseded is not None:
            reason = f"(overtaken by a resumed training) {reason}"
        state = _STATES[e.state] if e.state is not None else ""
        run = [e.run] if several else []
        rows.append((*run, epoch_words(e.epoch), str(e.step), decided[e.save], state, reason))
    titles = (*(["run"] if several else []), "epoch", "step", "gate", "checkpoint", "why")
    print_table(titles, rows, right=("epoch", "step"))


def _why_model(model: str, place: str | None, as_json: bool) -> None:
    model, papers = _papers(model)
    record = _record(papers, place) if place is not None else None
    if as_json:
        print_json(_model_json(model, papers, record))
        return
    show("\n".join([f"model {model}", *chain_of(papers)]))
    if record is not None:
        show("\n".join(told(record)))


def _papers(model: str) -> tuple[str, Papers]:
    from checkpoint_gate.errors import ModelError
    from checkpoint_gate.pushed.papers import read_papers
    from checkpoint_gate.pushed.push_folder import champion_path
    from checkpoint_gate.uri_files import files_below, is_local

    papers = read_papers(model)
    if papers is None and (newest := champion_path(model)) is not None:
        model = newest
        papers = read_papers(model)
    if papers is None:
        exists = os.path.exists(model) if is_local(model) else bool(files_below(model))
        what = "carries no papers: it was not pushed by this project" if exists else "does not exist"
        raise ModelError(f"The model {model} {what}.")
    return model, papers


def _record(papers: Papers, place: str) -> Explanation:
    from checkpoint_gate.errors import RunMissing
    from checkpoint_gate.reviewing.explaining import explain
    from checkpoint_gate.store import Store

    store = Store.open(place)
    records = [e for e in explain(store.run(papers.run)) if e.step == papers.step]
    if not records:
        raise RunMissing(f"The run {papers.run} of the store {store.root} has no record of step {papers.step}.")
    saved = [e for e in records if e.save]
    written = [e for e in saved if e.state not in ("overtaken", "skipped", "amended")]
    return (written or saved or records)[-1]


def _model_json(model: str, papers: Papers, record: Explanation | None) -> dict[str, Any]:
    from checkpoint_gate.uri_files import is_local

    left_out = {"format", "writer"}
    return {
        **papers.model_dump(exclude=left_out),
        "model": os.path.abspath(model) if is_local(model) else model,
        "record": record.to_json() if record is not None else None,
    }
