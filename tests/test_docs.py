"""What the pages of components/docs show is what there is: their rule texts, their Python, their tables."""

from __future__ import annotations

import ast
import itertools
import re
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from checkpoint_gate.errors import UnknownMetricError
from checkpoint_gate.reviewing.replaying import replay
from checkpoint_gate.rule_text.located_yaml import YamlError, read_located
from checkpoint_gate.rule_text.rule_set import RuleSet, parse_rules, rules_from_mapping
from checkpoint_gate.rules import conditions as rules_module
from checkpoint_gate.rules.filtering import Filter, PrunePolicy, Saved
from checkpoint_gate.rules.gate import Gate, MetricWatch
from checkpoint_gate.rules.judgement import Judgement, all_of, any_of, negate
from checkpoint_gate.rules.records import HistoryLine, Record
from checkpoint_gate.rules.retention import Keep

DOCS = Path(__file__).parents[1] / "components" / "docs"
PAGES = sorted(DOCS.glob("*.md"))
RULES = (DOCS / "rules.md").read_text(encoding="utf-8")


class Block(NamedTuple):
    """A fenced block; `beside` is the YAML that it follows directly, if it does."""

    language: str
    text: str
    beside: str | None


def blocks(page):
    fenced = re.finditer(r"^```(\w*)\n(.*?)^```\n", page, re.DOTALL | re.MULTILINE)
    found, end, before = [], 0, None
    for match in fenced:
        follows = before if page[end : match.start()].strip() == "" else None
        found.append(Block(match[1], match[2], follows))
        end, before = match.end(), match[2] if match[1] == "yaml" else None
    return found


def file_name(block):
    """The name of the file that a block is, as its first line says."""
    named = re.match(r"# (\w+\.py)\n", block.text)
    return named[1] if named else None


def is_rules(text):
    try:
        data = read_located(text, "a block").data
    except YamlError:
        return True  # then it is to be read, and to fail
    return isinstance(data, dict) and not {"save", "keep", "filter", "prune"}.isdisjoint(data)


@pytest.fixture(scope="module", autouse=True)
def modules(tmp_path_factory):
    """The blocks that are files, where they can be imported."""
    folder = tmp_path_factory.mktemp("modules")
    files = {name: block.text for page in PAGES for block in blocks(page.read_text()) if (name := file_name(block))}
    for name, text in files.items():
        (folder / name).write_text(text)
    sys.path.insert(0, str(folder))
    yield
    sys.path.remove(str(folder))
    for name in files:
        sys.modules.pop(name.removesuffix(".py"), None)


YAML = [
    pytest.param(block.text, id=f"{page.name}: {' '.join(block.text.split())[:60]}")
    for page in PAGES
    for block in blocks(page.read_text(encoding="utf-8"))
    if block.language == "yaml" and (is_rules(block.text) or page.name == "rules.md")
]


@pytest.mark.parametrize("text", YAML)
def test_every_rule_text_is_read_and_written_back(text):
    rules = parse_rules(text)
    assert parse_rules(rules.to_json()) == rules


def value_of(block, names):
    """Runs a block; the value of its last line, where that is an expression."""
    tree = ast.parse(block.text)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "block", "exec"), names)
    return None if last is None else eval(compile(ast.Expression(last.value), "block", "eval"), names)


class Upstream:
    """A component of a pipeline that a page does not show; it has every output."""

    @property
    def outputs(self):
        from tfx.types import channel, standard_artifacts

        kinds = {"model_run": standard_artifacts.ModelRun, "model": standard_artifacts.Model}
        return {name: channel.Channel(type=kind) for name, kind in kinds.items()}


def part_of(rules, value):
    """What `value` has to equal: the section of its kind, or the rule in it."""
    sections = {RuleSet: rules, Gate: rules.save, Filter: rules.filter, Keep: rules.keep, PrunePolicy: rules.prune}
    return sections.get(type(value), rules.save and rules.save.rule)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_python_block_runs_and_equals_the_yaml_beside_it(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names, pairs = {"__name__": page.stem, "trainer": Upstream()}, 0
    for block in blocks(page.read_text(encoding="utf-8")):
        if block.language != "python" or file_name(block):
            continue
        value = value_of(block, names)
        if block.beside is not None and is_rules(block.beside) and value is not None:
            assert part_of(parse_rules(block.beside), value) == value
            pairs += 1
    assert page.name != "rules.md" or pairs == len([b for b in blocks(RULES) if b.language == "python" and b.beside])


KEYS = """
all any not metric at_most at_least moving_average exponential_average centred_average improves min_delta every rule
with from to epochs steps time shape stairs champion times plus is after top best mode n last milestone within budget
grace keep_last max_fraction
"""


@pytest.mark.parametrize("key", KEYS.split())
def test_every_key_stands_in_yaml_beside_its_constructor(key):
    assert any(re.search(rf"\b{key}:", block.beside) for block in blocks(RULES) if block.beside)


@pytest.mark.parametrize(
    "name", sorted({*rules_module.__all__} - {"Judge", "Judgement", "Mode", "Record", "Rule", "start"})
)
def test_every_constructor_stands_beside_its_yaml(name):
    assert any(re.search(rf"\b{name}\(", block.text) for block in blocks(RULES) if block.beside)


@pytest.mark.parametrize("name", rules_module.__all__)
def test_what_rules_are_built_of_is_imported_from_one_place(name):
    assert hasattr(rules_module, name)


def tables(page, *columns):
    """The rows of the tables of a page whose header begins with `columns`."""
    rows, wanted = [], False
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        if not cells:
            wanted = False
        elif tuple(cells[: len(columns)]) == columns:
            wanted = True
        elif wanted and set(line) != set("|-"):
            rows.append(cells)
    return rows


def code(cell):
    return re.fullmatch(r"`(.+)`", cell)[1]


@pytest.mark.parametrize(
    ("rule", "values", "saved"),
    [
        pytest.param(code(rule), values, saved, id=f"{code(rule)}: {said or values}")
        for rule, values, saved, said in tables(RULES, "rule", "val_loss", "saved")
    ],
)
def test_a_history_is_decided_as_the_table_says(rule, values, saved):
    metrics = [{} if value == "–" else {"val_loss": float(value)} for value in values.split(", ")]
    records = [Record(epoch + 1, epoch, logged) for epoch, logged in enumerate(metrics)]
    decisions = parse_rules(f"save: {rule}").save.replay(records)
    assert ", ".join("yes" if decision.save else "no" for decision in decisions) == saved


@pytest.mark.parametrize("row", tables(RULES, "a", "b"), ids=lambda row: f"a {row[0]}, b {row[1]}")
def test_the_truth_table(row):
    a, b = (Judgement(truth, "so") for truth in row[:2])
    assert [all_of([a, b]).truth, any_of([a, b]).truth, negate(a).truth] == row[2:]


def test_the_truth_table_is_whole():
    rows = {tuple(row[:2]) for row in tables(RULES, "a", "b")}
    assert rows == set(itertools.product(["holds", "unknown", "fails"], repeat=2))


@pytest.mark.parametrize("row", tables(RULES, "limit", "epoch 0"), ids=lambda row: code(row[0]))
def test_a_limit_moves_as_the_table_says(row):
    schedule = parse_rules(f"save: {{metric: x, at_most: {code(row[0])}}}").save.rule.limit
    limits = [f"{schedule.value(Record(epoch + 1, epoch)):.6g}" for epoch in (0, 1, 5, 9, 10, 11)]
    assert limits == row[1:]


@pytest.mark.parametrize("row", tables(RULES, "the champion", "val_loss of a checkpoint"), ids=" ".join)
def test_a_limit_goes_by_the_champion_as_the_table_says(row):
    champion, value, saved, why = ast.literal_eval(code(row[0])), float(row[1]), row[2] == "yes", row[3]
    rules = parse_rules("save: {metric: val_loss, at_most: {champion: val_loss, times: 1.05}}").resolved(champion)
    decision = rules.save.decide([Record(1, 0, {"val_loss": value})])
    assert (decision.save, decision.reason) == (saved, why)


def test_the_tables_are_there():
    assert len(tables(RULES, "the champion", "val_loss of a checkpoint")) == 4
    assert len(tables(RULES, "rule", "val_loss", "saved")) > 30
    assert len(tables(RULES, "limit", "epoch 0")) == len(tables(RULES, "shape")) == 4


# What the page says in words, and no table shows.


def rows(*losses, first=0):
    return [
        Record(i + 1, i, {"loss": 0.5} | ({} if value is None else {"val_loss": value}))
        for i, value in enumerate(losses, first)
    ]


@pytest.mark.parametrize(
    ("text", "saved", "words"),
    [
        pytest.param("save: {every: 1}", False, "loss is nan", id="a loss that is NaN is refused by save"),
        pytest.param("filter: {every: 1}", False, "loss is nan", id="a loss that is NaN is refused by filter"),
    ],
)
def test_a_training_loss_that_is_not_finite_always_refuses(text, saved, words):
    rules, record = parse_rules(text), Record(1, 0, {"loss": float("nan"), "val_loss": 0.1})
    if rules.save:
        decision = rules.save.decide([record])
        assert (decision.save, decision.reason) == (saved, words)
    else:
        (verdict,) = rules.filter.replay([record])
        assert (verdict.outcome == "keep", verdict.reason) == (saved, words)


def training(watch, logged):
    """One call an epoch, then one for the end."""
    for epoch, names in enumerate(logged):
        yield lambda epoch=epoch, names=names: watch.see(Record(epoch + 1, epoch, dict.fromkeys(names, 0.5)))
    yield watch.end


@pytest.mark.parametrize(
    ("name", "logged", "stops"),
    [
        pytest.param("accuracy", [["loss"], ["loss", "accuracy"]], 0, id="a late name stops it after the first epoch"),
        pytest.param("accuracy", [["loss", "accuracy"], ["loss"]], None, id="a name that was logged once does not"),
        pytest.param("val_f1", [["loss"], ["loss", "val_loss"]], 1, id="val_ is due when any val_ is logged"),
        pytest.param("val_f1", [["loss"], ["loss"]], 2, id="or at the end"),
    ],
)
def test_a_name_that_training_does_not_log_stops_it(name, logged, stops):
    for moment, call in enumerate(training(MetricWatch({name}), logged)):
        if moment == stops:
            with pytest.raises(UnknownMetricError, match=rf"'{name}'.* Logged were: loss"):
                call()
            return
        call()
    assert stops is None


def test_in_a_filter_the_later_of_two_records_of_one_kind_and_step_is_the_checkpoints():
    first, second = Record(5, 0, {"x": 0.1}), Record(5, 0, {"x": 0.9})
    (verdict,) = parse_rules("filter: {metric: x, at_most: 0.5}").filter.judge(
        {"run": [first, second]}, [Saved("run", second)]
    )
    assert verdict.outcome == "reject"
    (verdict,) = parse_rules("filter: {metric: x, at_most: 0.5}").filter.judge(
        {"run": [second, first]}, [Saved("run", first)]
    )
    assert verdict.outcome == "keep"


@pytest.mark.parametrize(
    ("rule", "kept"),
    [
        pytest.param("{every: 2}", ".K.K", id="every counts epochs as in save"),
        pytest.param("{not: {metric: val_loss, at_most: 0.3}}", "KK.K", id="not turns it round as in save"),
        pytest.param("{metric: val_loss, moving_average: 2, at_most: 0.4}", "..KK", id="windows go over the history"),
        pytest.param("{metric: val_loss, centred_average: 3, at_most: 0.4}", "..KK", id="with hindsight"),
    ],
)
def test_what_a_rule_means_in_a_filter(rule, kept):
    verdicts = parse_rules(f"filter: {rule}").filter.replay(rows(0.6, 0.5, 0.2, 0.4))
    assert "".join("K" if verdict.outcome == "keep" else "." for verdict in verdicts) == kept


def test_one_record_that_has_the_name_is_enough_in_replay_and_in_the_filter():
    lines = [HistoryLine(i, record, {}) for i, record in enumerate(rows(None, None, 0.4), 1)]
    rules = parse_rules("save: {metric: val_loss, at_most: 0.5}\nfilter: {metric: val_loss, at_most: 0.5}")
    for section in ("save", "filter"):
        assert [said.holds for said in replay(rules, section, lines)] == [False, False, True]


def test_the_same_text_as_a_mapping_is_the_same_rules():
    whole = next(block.text for block in blocks(RULES) if block.language == "yaml")
    assert rules_from_mapping(read_located(whole, "whole").data) == parse_rules(whole)
