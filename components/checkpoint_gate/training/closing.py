"""What a training tells when it ends: how many records were saved and refused, and by which clause. Pure."""

from __future__ import annotations

from collections import Counter

from checkpoint_gate.store.ledger import History


def closing_words(history: History) -> str:
    """Of a whole run: "40 epochs: 20 saved, 20 refused, most often by val_loss improves (min) (13 times)"."""
    entries = history.entries
    what = "epoch" if all(entry.record.at == "epoch" for entry in entries) else "record"
    saved = len(history.saved)
    refused = [entry.decision for entry in entries if not entry.decision.save]
    words = f"{_count(len(entries), what)}: {saved} saved, {len(refused)} refused"
    unwritten = len(entries) - saved - len(refused)
    if unwritten:
        words += f", {unwritten} let through but not written"
    commonest = Counter(clause for decision in refused for clause in decision.clauses).most_common(1)
    for clause, times in commonest:
        words += f", most often by {clause} ({_count(times, 'time')})"
    return words


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"
