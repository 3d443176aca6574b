"""The documented examples are read by the store's own readers, and each is refused when it is of a newer format."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import checkpoint_gate
from checkpoint_gate.errors import StoreError
from checkpoint_gate.store import Store
from checkpoint_gate.store.champion import read_champion
from checkpoint_gate.store.marked_folders import unfinished_names
from checkpoint_gate.store.trash import journals, read_journal, tombstones

PROMISES = Path(checkpoint_gate.__file__).parents[1] / "docs" / "promises.md"
PAGE = Path(checkpoint_gate.__file__).parents[1] / "docs" / "store.md"
EXAMPLE = re.compile(r"^`(\S+)`\n\n```jsonl?\n(.*?)```$", re.DOTALL | re.MULTILINE)
EXAMPLES = dict(EXAMPLE.findall(PAGE.read_text(encoding="utf-8")))
READERS = {
    "store.json": lambda store: store.revision(),
    "champion.json": lambda store: read_champion(store.files),
    "run.json": lambda store: store.run("demo").about(),
    "ledger.jsonl": lambda store: store.run("demo").ledger.read().entries,
    "manifest.json": lambda store: store.run("demo").live()[0],
    "pins.json": lambda store: store.run("demo").pins(),
    "journal": lambda store: [read_journal(store.run("demo"), name) for name in journals(store.run("demo"))],
    "tombstones.jsonl": lambda store: tombstones(store.run("demo")),
    "lease": lambda store: store.run("demo").lease("reading").acquire(),
    "unfinished.json": lambda store: unfinished_names(
        store.files.read("demo/checkpoints/step-000000040/unfinished.json", 1000), "unfinished.json"
    ),
}


def kind(path):
    name = path.rpartition("/")[2]
    return "journal" if "/journal/" in path else "lease" if name.startswith("lease.") else name


@pytest.fixture
def store(tmp_path, clock):
    for path, text in EXAMPLES.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    return Store.open(tmp_path, clock)


def test_every_kind_of_file_has_an_example():
    assert sorted(map(kind, EXAMPLES)) == sorted(READERS)


@pytest.mark.parametrize("path", EXAMPLES)
def test_an_example_is_read(store, path):
    READERS[kind(path)](store)


def test_the_examples_say_one_thing(store):
    run = store.run("demo")
    (stored,) = (stored for stored in run.live() if stored.manifest is not None)
    record = run.ledger.read().records[-1]
    assert (stored.manifest.step, stored.manifest.record.metrics) == (record.step, record.metrics)
    assert (list(run.pins()), read_champion(store.files).step) == ([30], 30)
    ((plan, step),) = tombstones(run)
    assert (journals(run), step) == ([plan], 10)


@pytest.mark.parametrize("path", EXAMPLES)
def test_one_of_a_newer_format_is_refused_by_name(tmp_path, store, path):
    place = tmp_path / path
    lines = place.read_text(encoding="utf-8").splitlines()
    if path.endswith(".jsonl"):
        lines[0] = json.dumps(json.loads(lines[0]) | {"format": 2})
        place.write_text("\n".join(lines) + "\n", encoding="utf-8")
    else:
        place.write_text("\n".join(lines).replace('"format": 1', '"format": 2'), encoding="utf-8")
    words = r"the format 2|format is 2"
    if kind(path) == "manifest.json":
        assert re.search(words, READERS["manifest.json"](store).damage)
        return
    with pytest.raises(StoreError, match=rf"{re.escape(place.name)}.*({words})"):
        READERS[kind(path)](store)


@pytest.mark.parametrize("path", [path for path, text in EXAMPLES.items() if '"crc"' in text])
def test_a_changed_value_is_noticed(tmp_path, store, path):
    place = tmp_path / path
    first, _, rest = place.read_text(encoding="utf-8").partition("179000")
    place.write_text(f"{first}179001{rest}" if rest else first.replace("for the report", "for a report"))
    with pytest.raises(StoreError, match=rf"{re.escape(place.name)}.* is damaged: its checksum does not hold"):
        READERS[kind(path)](store)


def test_a_file_without_its_checksum_is_read(tmp_path, store):
    place = tmp_path / "demo/pins.json"
    place.write_text('{"format": 1, "pins": {"20": "by hand"}}')
    assert store.run("demo").pins() == {20: "by hand"}


def test_every_figure_stands_among_the_promises_with_its_cases():
    table = re.findall(r"^\| (B\d+) \|.*\| ([\d,]+) \| 0 \|$", PROMISES.read_text(encoding="utf-8"), re.MULTILINE)
    modules = sorted(int(path.name[1:3]) for path in Path(__file__).parent.glob("faults/b[0-9]*.py"))
    assert [int(figure[1:]) for figure, _ in table] == modules
    assert all(int(n.replace(",", "")) > 0 for _, n in table)
