"""A pushed model's papers in words: from the push back to the record that let its checkpoint through."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from checkpoint_gate.cli.words import epoch_words, metric_words

if TYPE_CHECKING:
    from checkpoint_gate.pushed.papers import Data, Origin, Papers, Push

_SHOWN = 12  # slices and survivors; --json has them all


def chain_of(papers: Papers) -> list[str]:
    """The lines, each with a word in front of it."""
    return [f"  {word:<11} {text}" for word, text in _chain(papers)]


def _chain(papers: Papers) -> Iterator[tuple[str, str]]:
    yield from _pushed(papers.push) if papers.push is not None else ()
    averaged = len(papers.origins) > 1
    steps = ", ".join(f"{origin.step} of {origin.run}" for origin in papers.origins)
    yield (
        "checkpoint",
        f"the average of the steps {steps}" if averaged else f"step {papers.step} of the run {papers.run}",
    )
    yield "chosen", papers.reason
    for survivor in papers.survivors[:_SHOWN]:
        out = f"; out: {survivor.excluded}" if survivor.excluded is not None else ""
        yield "", f"{survivor.name}: {metric_words(survivor.metrics) or 'no metrics'}{out}"
    yield from _more(len(papers.survivors))
    yield "evaluated", f"{metric_words(papers.metrics) or 'no metrics'} on {', '.join(papers.data.chosen_on)}"
    for part in papers.slices[:_SHOWN]:
        where = ", ".join(f"{column}:{value}" for column, value in part.columns.items())
        yield "", f"{where}: {metric_words(part.metrics)}"
    yield from _more(len(papers.slices), papers.slices_left_out)
    yield "filtered", f"by the rules {papers.rules_digest[:12]}"
    for origin in papers.origins:
        yield from _origin(origin, averaged)
    yield from _data(papers.data)
    if papers.classes:
        yield "classes", ", ".join(papers.classes)
    yield "versions", ", ".join(f"{name} {version}" for name, version in papers.versions.items())


def _pushed(push: Push) -> Iterator[tuple[str, str]]:
    from checkpoint_gate.quantities import format_time

    instead = f", in place of {push.replaces}" if push.replaces is not None else ", as the first"
    yield "pushed", f"{format_time(push.time)} as version {push.version}{instead}"
    if (back := push.rollback) is not None:
        withdrew = f"{back.withdrew} was withdrawn" if back.withdrew is not None else "its withdrawal was taken back"
        yield "rolled back", f"it is version {back.restored} again, {withdrew}: {back.reason}"
    if push.best is not None:
        yield "", "the best so far" if push.best == push.version else f"the best so far stays version {push.best}"
    if push.blessing is not None:
        yield "blessed", str(push.blessing.get("reason", "the verdict gives no reason"))
        yield from _sides(push.blessing)


def _sides(blessing: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The metrics of candidate, champion and best so far on the split that blessed, as far as the verdict has them."""
    for side, words in (("candidate", "candidate"), ("champion", "champion"), ("best", "best so far")):
        metrics = blessing.get(f"{side}_metrics")
        if isinstance(metrics, dict) and metrics:
            yield "", f"{words}: {metric_words(metrics)}"


def _origin(origin: Origin, averaged: bool) -> Iterator[tuple[str, str]]:
    where = f"step {origin.step} of {origin.run}: " if averaged else ""
    yield "", f"{where}{origin.verdict}"
    yield "gate", f"epoch {epoch_words(origin.epoch)}, step {origin.step}: {origin.decision}"
    yield "", f"{metric_words(origin.metrics)}; rules {origin.gate[:12]}"


def _data(data: Data) -> Iterator[tuple[str, str]]:
    for examples in data.examples:
        span = f"span {examples.span}" if examples.span is not None else "no span"
        version = f", version {examples.version}" if examples.version is not None else ""
        yield "data", f"{span}{version}; splits {', '.join(examples.splits)}"
        if examples.fingerprint is not None:
            yield "", f"fingerprint {examples.fingerprint}"
    if data.table is not None:
        yield "", f"table sha256:{data.table}"


def _more(count: int, left_out: int = 0) -> Iterator[tuple[str, str]]:
    more = max(0, count - _SHOWN) + left_out
    if more:
        yield "", f"and {more} more"
