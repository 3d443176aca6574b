"""`checkpoint-gate report`."""

from __future__ import annotations

from pathlib import Path

import click

from checkpoint_gate.cli.words import json_option, print_json, run_option, say, store_argument


@click.command(short_help="Write a page with plots of the trainings and their checkpoints.")
@store_argument
@run_option
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("store-report.html"),
    show_default=True,
    help="The HTML file; an older one is replaced.",
)
@click.option(
    "--rules",
    type=click.Path(path_type=Path),
    help="A rules file or a pipeline.yaml, whose limits are drawn.  [default: the gate that the ledger records]",
)
@json_option
def report(store: str, key: str | None, output: Path, rules: Path | None, as_json: bool) -> None:
    """Write one HTML page about STORE: of every run its curves with what was saved and refused, why, and its
    checkpoints, the pruned ones too. It needs no other file and no network.

    The page's path goes to standard output. --json prints one object: report (the page's path) and runs, an array of
    run, records, saved, refused, resumed, refusals (clause -> records), states (state -> checkpoints), bytes.
    """
    from checkpoint_gate.errors import StoreError
    from checkpoint_gate.report.pages import write_page
    from checkpoint_gate.report.store_page import render_store, report_of
    from checkpoint_gate.reviewing.catalog import chosen_runs
    from checkpoint_gate.rule_text.rule_set import load_rules
    from checkpoint_gate.store import Store

    opened = Store.open(store)
    drawn = load_rules(rules) if rules is not None else None
    reports = [report_of(run, drawn) for run in chosen_runs(opened, key)]
    text = render_store(str(opened.root), reports)
    try:
        write_page(output, text)
    except OSError as error:
        raise StoreError(f"The report {output} cannot be written: {error.strerror}.") from error
    if as_json:
        print_json({"report": str(output.absolute()), "runs": [each.to_json() for each in reports]})
        return
    say(f"A page about {len(reports)} run{'s' * (len(reports) != 1)} of {opened.root}:")
    click.echo(str(output.absolute()))
