"""What the HTML pages share: each stands alone, in light and dark."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from checkpoint_gate.quantities import format_size
from checkpoint_gate.store.ledger import History


@dataclass(frozen=True, slots=True)
class Bar:
    """A row of a bar chart: `share` of the longest bar in percent; `grey` where nothing was done."""

    name: str
    words: str
    share: float
    grey: bool = False


def render_page(package: str, template: str, /, **values: Any) -> str:
    """The text of a Jinja template in a package's folder `templates`; it may include those of this package."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(package), jinja2.PackageLoader("checkpoint_gate.report")]),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["size"] = format_size
    text: str = environment.get_template(template).render(**values)
    return text


def write_page(path: Path, text: str) -> None:
    """Writes a page; an older one is replaced whole, or stays whole.

    Raises:
      OSError: the file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8", errors="replace")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def times_refused(refusals: Mapping[str, int]) -> list[Bar]:
    """How often each clause refused, the commonest first."""
    most = max(refusals.values(), default=1)
    ordered = sorted(refusals.items(), key=lambda item: -item[1])
    words = {clause: clause.replace("->", " → ") for clause in refusals}
    return [Bar(words[clause], f"{times} time" + "s" * (times != 1), 100 * times / most) for clause, times in ordered]


def not_finite(history: History) -> list[str]:
    """Words for the metrics that were not finite at some time: "val_loss was nan or inf at epochs 3, 4"."""
    epochs: dict[str, list[int]] = {}
    values: dict[str, set[str]] = {}
    for entry in history.entries:
        for name, value in entry.record.metrics.items():
            if entry.record.finite(name) is None:
                epochs.setdefault(name, []).append(entry.record.epoch + 1)
                values.setdefault(name, set()).add(str(value))
    return [f"{name} was {' or '.join(sorted(values[name]))} at {_listed(found)}" for name, found in epochs.items()]


def _listed(epochs: Sequence[int], most: int = 10) -> str:
    unique = list(dict.fromkeys(epochs))
    more = f" and {len(unique) - most} more" if len(unique) > most else ""
    return f"epoch{'s' * (len(unique) > 1)} {', '.join(map(str, unique[:most]))}{more}"
