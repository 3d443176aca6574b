"""Rules and manifests of every shape: read, or refused by an error of this package; never another one.

Three kinds of each: anything at all; a good one with a few characters changed; and one of the right shape with odd
values in it, which, for a manifest, carries a checksum that holds.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from checkpoint_gate.errors import CheckpointGateError
from checkpoint_gate.rule_text.rule_set import parse_rules
from checkpoint_gate.rules.records import Record
from checkpoint_gate.store.manifest import FileEntry, Manifest, _to_bytes, parse_manifest
from faults.figure import Measured

FIGURE = "B8"
WHAT = "fuzzed rules and manifests: another error than one of this package's"

GOOD_RULES = (
    "save: {all: [{metric: loss, at_most: 0.6}, {metric: val_loss, moving_average: 5, at_most: 0.55}], after: 3}",
    "save:\n  any:\n    - {metric: val_loss, improves: min, min_delta: 0.001}\n    - {every: 10}\n",
    "save: {metric: val_loss, at_most: {from: 1.0, to: 0.45, epochs: 10, shape: linear}}",
    "keep: {best: {metric: val_loss, mode: min, n: 5}, last: 1, milestone: 50, within: 2d, budget: 10GiB}",
    "filter: {not: {metric: val_loss, exponential_average: 5, at_least: 0.9}}\nprune: {grace: 24h, max_fraction: 0.95}",
    "filter:\n  all: [{metric: a, centred_average: 3, at_most: .5}]\n  top: {metric: val_loss, mode: min, n: 10}\n",
)
WORDS = [
    "save",
    "keep",
    "filter",
    "prune",
    "all",
    "any",
    "not",
    "metric",
    "at_most",
    "at_least",
    "moving_average",
    "exponential_average",
    "centred_average",
    "improves",
    "min",
    "max",
    "min_delta",
    "every",
    "after",
    "best",
    "last",
    "milestone",
    "within",
    "budget",
    "top",
    "mode",
    "n",
    "grace",
    "keep_last",
    "max_fraction",
    "from",
    "to",
    "epochs",
    "steps",
    "time",
    "shape",
    "linear",
    "val_loss",
    "loss",
    "24h",
    "10GiB",
    "nan",
    "inf",
    "-1",
    "0",
    "1",
    "2.5",
    "1e999",
    "true",
    "null",
    "&a",
    "*a",
    "!!float",
    "<<",
]
GOOD_MANIFEST = Manifest.build(
    record=Record(30, 2, {"loss": 0.36, "val_loss": 0.41}),
    time=1790000009.0,
    kind="gated",
    run="demo",
    decision="val_loss 0.41 is at most 0.45",
    rules="b" * 64,
    files=[FileEntry(path="ckpt.index", bytes=300, checksum="sha256:" + "0" * 64)],
    writer="checkpoint-gate 0.1.0",
)

_numbers = st.integers() | st.floats() | st.just(10**400)
_plain = st.none() | st.booleans() | _numbers | st.text() | st.sampled_from(WORDS)
_names = st.sampled_from(WORDS) | st.text(max_size=5)
_values = st.recursive(
    _plain, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_names, inner, max_size=4), max_leaves=6
)
_edits = st.lists(
    st.tuples(st.integers(0, 400), st.integers(0, 3), st.text(max_size=3) | st.sampled_from(WORDS)), max_size=4
)


def _edited(text: str, edits: list[tuple[int, int, str]]) -> str:
    """Replaces characters: (where, how many, by what)."""
    for place, count, words in edits:
        place %= len(text) + 1
        text = text[:place] + words + text[place + count :]
    return text


def _manifest_with(changes: dict[str, Any], dropped: str | None) -> bytes:
    """A manifest of the right shape with other values, and a checksum that holds where one can be made."""
    value = msgspec.to_builtins(GOOD_MANIFEST) | changes
    value.pop(dropped, None)
    try:
        return _to_bytes(value)
    except ValueError:  # not a number, or half a character, which strict JSON does not have
        return json.dumps(value).encode()


rules_texts = (
    st.text()
    | st.builds(_edited, st.sampled_from(GOOD_RULES), _edits)
    | st.builds(lambda value: json.dumps(value, ensure_ascii=False), _values)
    | st.builds(" ".join, st.lists(st.sampled_from([*WORDS, ":", "{", "}", "[", "]", ",", "-", "\n"]), max_size=20))
)
_fields = st.sampled_from(sorted([*msgspec.to_builtins(GOOD_MANIFEST), "self", "extra"]))
manifests = (
    st.binary()
    | st.builds(
        lambda edits: _edited(GOOD_MANIFEST.to_bytes().decode(), edits).encode("utf-8", "surrogatepass"), _edits
    )
    | st.builds(_manifest_with, st.dictionaries(_fields, _values, max_size=3), st.none() | _fields)
)


def measure(long: bool) -> Measured:
    measured = Measured()
    examples = 100_000 if long else 10_000
    _fuzz(measured, rules_texts, parse_rules, examples)
    rules = measured.n
    _fuzz(measured, manifests, lambda data: parse_manifest(data, "manifest.json"), examples)
    measured.detail = f"{rules:,} rules, {measured.n - rules:,} manifests"
    return measured


def _fuzz(measured: Measured, examples: st.SearchStrategy[Any], read: Callable[[Any], object], count: int) -> None:
    @settings(
        max_examples=count, database=None, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    @given(examples)
    def one(example: Any) -> None:
        try:
            read(example)
        except CheckpointGateError:
            measured.case()
        except Exception as error:
            measured.case(f"{example!r:.300}: {type(error).__name__}: {error!s:.200}")
        else:
            measured.case()

    one()
