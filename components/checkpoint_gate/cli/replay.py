"""`checkpoint-gate replay`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from checkpoint_gate.cli.words import epoch_words, json_option, print_lines, print_table, say

if TYPE_CHECKING:
    from checkpoint_gate.reviewing.replaying import Replayed, Section

_WORDS = {"save": ("saved", "refused"), "filter": ("kept", "rejected")}


@click.command(short_help="Ask rules about a recorded history.")
@click.option(
    "--rules",
    type=click.Path(path_type=Path),
    help="The rules file, or a pipeline.yaml.  [default: the gate that the ledger records]",
)
@click.option(
    "--history",
    required=True,
    type=click.Path(path_type=Path),
    help="A ledger, the folder of a run or of a store of one run, or JSON lines of records.",
)
@click.option(
    "--section", type=click.Choice(["save", "filter"]), default="save", show_default=True, help="Which rules to ask."
)
@click.option(
    "--champion",
    "champion",
    multiple=True,
    metavar="METRIC=NUMBER",
    help="A number of the champion, for limits relative to it; may be given several times.",
)
@json_option
def replay(rules: Path | None, history: Path, section: str, champion: tuple[str, ...], as_json: bool) -> None:
    """Ask rules about every record of a recorded history: would they have saved it, and why.

    Without --rules, each record is judged again by the gate that the ledger records for it, and every decision has to
    come out as it is recorded: exit code 1 when one does not, for then the ledger does not agree with itself.

    A line of the history is strict JSON: {"step": 7, "epoch": 6, "metrics": {"loss": 0.4, "val_loss": "nan"}}, with
    "at": "step" for a record made between epochs. A ledger of a store serves as it is: records that a resumed training
    has overtaken do not count, and neither does a last line torn by a crash.

    Limits that are relative to the champion need --champion, unless the text tells its numbers, as a ledger's does;
    without it they cannot be judged, and nothing passes by them.

    Section filter is asked about every record as if each had a checkpoint.

    A record that lacks a metric cannot be judged by it, and is refused unless another rule lets it through. A metric
    that no record of the history has is an error, since its name is wrong or the history too short; a history without
    any metrics at all has nothing to compare names with, and is refused record by record.

    --json prints one object a line: step, epoch (from 0), save (for section filter: keep) and reason.
    """
    from checkpoint_gate.reviewing.replaying import history_file, read_ledger_file, replay_recorded
    from checkpoint_gate.reviewing.replaying import replay as replayed
    from checkpoint_gate.rule_text.rule_set import load_rules

    if rules is None and section != "save":
        raise click.UsageError(f"--section {section} needs --rules: a ledger records only the rules about saving.")
    if rules is None and champion:
        raise click.UsageError("--champion needs --rules: a ledger records the numbers of its champion.")
    read = load_rules(rules) if rules is not None else None
    if read is not None and champion:
        read = read.resolved(_numbers(champion))
    history = history_file(history)
    lines, torn = read_ledger_file(history)
    if read is None:
        answers = replay_recorded(lines, str(history))
    else:
        answers = replayed(read, cast("Section", section), lines, str(rules))
    key = "save" if section == "save" else "keep"
    yes, no = _WORDS[section]
    if as_json:
        print_lines({"step": a.record.step, "epoch": a.record.epoch, key: a.holds, "reason": a.reason} for a in answers)
    elif answers:
        rows = [(epoch_words(a.record.epoch), str(a.record.step), yes if a.holds else no, a.reason) for a in answers]
        print_table(("epoch", "step", section, "why"), rows, right=("epoch", "step"))
    if torn:
        say(f"The last line of {history} was torn by a crash and is passed over.")
    held = sum(a.holds for a in answers)
    say(f"{len(answers)} records: {held} {yes}, {len(answers) - held} {no}")
    if section == "save" and _differ(answers) and rules is None:
        sys.exit(1)


def _numbers(given: Sequence[str]) -> dict[str, float]:
    numbers = {}
    for one in given:
        metric, _, number = one.rpartition("=")
        try:
            numbers[metric] = float(number)
        except ValueError:
            metric = ""
        if not metric:
            raise click.BadParameter(f"must be METRIC=NUMBER, such as val_loss=0.45. Received: {one}.")
    return numbers


def _differ(answers: Sequence[Replayed]) -> bool:
    """Tells whether the answers differ from what was recorded, and the first that does."""
    recorded = [a for a in answers if a.recorded is not None]
    differing = [a for a in recorded if a.recorded != a.holds]
    if recorded and not differing:
        say(f"The same as recorded, all {len(recorded)}")
    if differing:
        a = differing[0]
        then, now = (_WORDS["save"][0 if saved else 1] for saved in (a.recorded, a.holds))
        say(
            f"{len(differing)} of {len(recorded)} differ from what was recorded, the first at epoch "
            f"{epoch_words(a.record.epoch)}, step {a.record.step}: {then} then ({a.recorded_reason}), "
            f"{now} now ({a.reason})"
        )
    return bool(differing)
