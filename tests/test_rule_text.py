"""Rules as text: what is read, what is written back, and what each mistake is answered with."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from checkpoint_gate.errors import RuleError
from checkpoint_gate.quantities import exact_size, format_duration, format_size, parse_duration, parse_size
from checkpoint_gate.rule_text.rule_set import RuleSet, load_rules, parse_rules, rules_from_mapping, write_rules
from checkpoint_gate.rule_text.rules_like import as_rules
from checkpoint_gate.rules.averages import CentredAverage, ExponentialAverage, MovingAverage
from checkpoint_gate.rules.conditions import All, Any, Every, Improves, Not, Threshold
from checkpoint_gate.rules.filtering import Filter, PrunePolicy
from checkpoint_gate.rules.gate import Gate
from checkpoint_gate.rules.retention import Best, Keep
from checkpoint_gate.rules.schedules import Schedule

WHOLE = """
save:                                  # the gate, judged at each epoch end (or every N steps)
  all:
    - {metric: loss, at_most: 0.60}
    - {metric: val_loss, at_most: {from: 1.0, to: 0.45, epochs: 10, shape: linear}}   # starts lenient, tightens
    - {metric: loss, moving_average: 5, at_most: 0.55}          # mean of the last 5, as numpy.mean
    - {metric: val_accuracy, exponential_average: 5, at_least: 0.9}
    - any:
        - {metric: val_loss, improves: min, min_delta: 0.001}   # against the best finite value saved so far
        - {every: 10}
  after: 3                             # warm-up: refuse the first 3 epochs
keep:                                  # retention in the store while training; no `keep`: keep all that was saved
  best: {metric: val_loss, mode: min, n: 5}
  last: 1
  milestone: 50
  within: 2d
  budget: 10GiB
filter:                                # CheckpointFilter
  all:
    - {metric: val_loss, at_most: 0.5}
    - {metric: val_loss, moving_average: 3, at_most: 0.55}
  top: {metric: val_loss, mode: min, n: 10}
prune: {grace: 24h, keep_last: 1, max_fraction: 0.95}
"""


def test_the_whole_grammar_is_read():
    assert parse_rules(WHOLE) == RuleSet(
        save=Gate(
            All(
                (
                    Threshold("loss", at_most=0.6),
                    Threshold("val_loss", at_most=Schedule(1.0, 0.45, 10)),
                    Threshold("loss", at_most=0.55, average=MovingAverage(5)),
                    Threshold("val_accuracy", at_least=0.9, average=ExponentialAverage(5)),
                    Any((Improves("val_loss", "min", 0.001), Every(10))),
                )
            ),
            after=3,
        ),
        keep=Keep(Best("val_loss", "min", 5), last=1, milestone=50, within=2 * 86400.0, budget=10 * 1024**3),
        filter=Filter(
            All((Threshold("val_loss", 0.5), Threshold("val_loss", 0.55, average=MovingAverage(3)))),
            Best("val_loss", "min", 10),
        ),
        prune=PrunePolicy(86400.0, 1, 0.95),
    )


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        pytest.param("{metric: loss, at_least: -1}", Threshold("loss", at_least=-1.0), id="a single rule"),
        pytest.param("{metric: loss, at_most: 1e-3}", Threshold("loss", at_most=0.001), id="1e-3 is a number"),
        pytest.param("{not: {every: 2}}", Not(Every(2)), id="not"),
        pytest.param("{every: {epochs: 3}}", Every(3), id="every so many epochs, in long"),
        pytest.param("{every: {steps: 500}}", Every(500, "steps"), id="every so many steps"),
        pytest.param("{every: {time: 30m}}", Every(1800.0, "seconds"), id="every so long"),
        pytest.param("{metric: loss, improves: max}", Improves("loss", "max"), id="improves without a min_delta"),
        pytest.param(
            "{metric: loss, at_most: {from: 1, to: 0, steps: 50}}",
            Threshold("loss", Schedule(1.0, 0.0, 50, "steps")),
            id="a schedule over steps, linear where no shape is given",
        ),
        pytest.param(
            "{metric: loss, at_most: {from: 1, to: 0, epochs: 8, shape: steps, stairs: 4}}",
            Threshold("loss", Schedule(1.0, 0.0, 8, shape="steps", stairs=4)),
            id="stairs",
        ),
    ],
)
def test_a_rule_is_read(text, rule):
    assert parse_rules(f"save: {text}").save == Gate(rule)


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        pytest.param(
            "filter: {metric: loss, centred_average: 3, at_most: 1}",
            RuleSet(filter=Filter(Threshold("loss", 1.0, average=CentredAverage(3)))),
            id="centred_average in filter",
        ),
        pytest.param(
            "filter: {top: {metric: loss, mode: max, n: 1}}",
            RuleSet(filter=Filter(None, Best("loss", "max", 1))),
            id="top alone",
        ),
        pytest.param("prune: {}", RuleSet(prune=PrunePolicy()), id="pruning as it is by default"),
        pytest.param("keep: {within: 90s}", RuleSet(keep=Keep(within=90.0)), id="one part of keep is enough"),
        pytest.param("keep: {budget: 2PB}", RuleSet(keep=Keep(budget=2 * 10**15)), id="a large budget"),
    ],
)
def test_a_section_is_read(text, rules):
    assert parse_rules(text) == rules


MISTAKES = [
    pytest.param(
        "save: {metric: loss, at_mots: 1}",
        1,
        "save.at_mots is not a known key here (did you mean at_most?); known are at_least, at_most",
        id="an unknown key in a rule",
    ),
    pytest.param(
        "save: {every: 1}\nsvae: {every: 1}",
        2,
        "svae is not a known key here (did you mean save?); known are filter, keep, prune, save",
        id="an unknown section",
    ),
    pytest.param(
        "save:\n  all:\n    - every: 1\n    - at_most: 1\n      metirc: loss",
        5,
        "save.all.1.metirc is not a known key here (did you mean metric?); known are all, any, every, ",
        id="a misspelt kind of rule",
    ),
    pytest.param("save: {every: 1, afer: 3}", 1, "save.afer is not a known key here", id="an unknown key beside every"),
    pytest.param(
        "save:\n  all: [{every: 1}]\n  any: [{every: 1}]",
        1,
        "save must have exactly one of all, any, not, metric, every",
        id="all and any side by side",
    ),
    pytest.param("save:\n  after: 2", 1, "save must have exactly one of all, any", id="after alone is no rule"),
    pytest.param(
        "save:\n  all:\n    - {metric: loss, at_most: 1, at_least: 0}",
        3,
        "save.all.0 must have exactly one of at_most, at_least, improves. Received: {'metric': 'loss', ",
        id="at_most with at_least",
    ),
    pytest.param(
        "save:\n  all:\n    - {metric: loss}",
        3,
        "save.all.0 must have exactly one of at_most, at_least, improves",
        id="a metric without a test",
    ),
    pytest.param(
        "save: {metric: loss, at_most: 1, improves: min}",
        1,
        "save must have exactly one of at_most, at_least, improves",
        id="a limit with improves",
    ),
    pytest.param(
        "save:\n  all: []", 2, "save.all must be a list of at least one rule. Received: []", id="all of nothing"
    ),
    pytest.param("save:\n  any: []", 2, "save.any must be a list of at least one rule", id="any of nothing"),
    pytest.param("save:\n  all: {every: 1}", 2, "save.all must be a list of at least one rule", id="all of no list"),
    pytest.param("save:\n  not: [{every: 1}]", 2, "save.not must be a rule: a mapping with one of", id="not of a list"),
    pytest.param(
        "save: always",
        1,
        "save must be a rule: a mapping with one of all, any, not, metric, every, rule. Received: 'always'",
        id="a rule that is a word",
    ),
    pytest.param("save:", 1, "save must be a rule: a mapping with one of", id="an empty section"),
    pytest.param("{}", 1, "the rules needs at least one of save, keep, filter, prune", id="no section"),
    pytest.param(
        "- 1", 1, "the rules must be a mapping with keys from filter, keep, prune, save. Received: [1]", id="a list"
    ),
    pytest.param(
        "save: {metric: loss, at_most: true}",
        1,
        "save.at_most must be a finite number. Received: True",
        id="yes as a limit",
    ),
    pytest.param(
        "save: {metric: loss, at_most: '0.5'}",
        1,
        "save.at_most must be a finite number. Received: '0.5'",
        id="text as a limit",
    ),
    pytest.param(
        "save: {metric: loss, at_most: .nan}",
        1,
        "save.at_most must be a finite number. Received: nan",
        id="NaN as a limit",
    ),
    pytest.param(
        "save: {metric: loss, at_most: 1e999}",
        1,
        "save.at_most must be a finite number. Received: inf",
        id="a limit too large",
    ),
    pytest.param(
        "save: {metric: loss, at_most: 1" + "0" * 400 + "}",
        1,
        "save.at_most must be a finite number",
        id="400 digits as a limit",
    ),
    pytest.param(
        "save: {metric: loss, at_most: [1]}",
        1,
        "save.at_most must be a finite number. Received: [1]",
        id="a list as a limit",
    ),
    pytest.param(
        "save: {metric: loss, at_most: }",
        1,
        "save.at_most must be a finite number. Received: None",
        id="nothing as a limit",
    ),
    pytest.param(
        "save: {metric: 3, at_most: 1}", 1, "save.metric must be a name. Received: 3", id="a number as a metric"
    ),
    pytest.param(
        "save: {metric: ' ', at_most: 1}", 1, "save.metric must be a name. Received: ' '", id="an empty metric"
    ),
    pytest.param(
        "save: {at_most: 1}",
        1,
        "save must have exactly one of all, any, not, metric, every",
        id="a limit without a metric",
    ),
    pytest.param(
        "save: {metric: loss, moving_average: 0, at_most: 1}",
        1,
        "save.moving_average must be a whole number of at least 1. Received: 0",
        id="a window of nothing",
    ),
    pytest.param(
        "save: {metric: loss, moving_average: true, at_most: 1}",
        1,
        "save.moving_average must be a whole number of at least 1. Received: True",
        id="yes as a window",
    ),
    pytest.param(
        "save: {metric: loss, moving_average: 2.5, at_most: 1}",
        1,
        "save.moving_average must be a whole number",
        id="half a window",
    ),
    pytest.param(
        "save: {metric: loss, moving_average: 10000000000000000000, at_most: 1}",
        1,
        "save.moving_average must be at most 1000000000000000",
        id="a window beyond all measure",
    ),
    pytest.param(
        "save: {metric: loss, moving_average: 3, exponential_average: 3, at_most: 1}",
        1,
        "save must have at most one of moving_average, exponential_average, centred_average",
        id="two averages",
    ),
    pytest.param(
        "filter: {metric: loss, centred_average: 4, at_most: 1}",
        1,
        "centred_average must be odd. Received: centred_average=4",
        id="a centred window of four",
    ),
    pytest.param(
        "save:\n  all:\n    - {every: 1}\n    - {metric: loss, centred_average: 3, at_most: 1}",
        4,
        "save.all.1.centred_average must not stand in save, since it needs hindsight: move it to filter",
        id="centred_average in save",
    ),
    pytest.param(
        "filter:\n  all:\n    - {metric: x, at_most: 1}\n    - not: {metric: loss, improves: min}",
        4,
        "filter.all.1.not.improves must not stand in filter, since it compares with what was saved: use top",
        id="improves in filter",
    ),
    pytest.param(
        "save: {metric: loss, moving_average: 3, improves: min}",
        1,
        "save must not average: averages gate against limits, the raw metric ranks",
        id="improves of an average",
    ),
    pytest.param(
        "save: {metric: loss, improves: lower}",
        1,
        "save.improves must be one of min, max. Received: 'lower'",
        id="a direction by another name",
    ),
    pytest.param(
        "save: {metric: loss, improves: min, min_delta: -1}",
        1,
        "min_delta must be at least 0. Received: -1.0",
        id="a negative min_delta",
    ),
    pytest.param(
        "save: {metric: loss, at_most: 1, min_delta: 0.1}",
        1,
        "save.min_delta goes with improves only",
        id="min_delta without improves",
    ),
    pytest.param(
        "save: {every: 0}", 1, "save.every must be a whole number of at least 1. Received: 0", id="every nothing"
    ),
    pytest.param(
        "save: {every: {steps: 5, epochs: 1}}",
        1,
        "save.every must have exactly one of epochs, steps, time",
        id="every two things",
    ),
    pytest.param(
        "save: {every: {hours: 5}}",
        1,
        "save.every.hours is not a known key here; known are epochs, steps, time",
        id="every hour by another name",
    ),
    pytest.param(
        "save: {every: {time: 30}}",
        1,
        'save.every.time must be written with its unit, such as "24h" or "10GiB". Received: 30',
        id="a time without a unit",
    ),
    pytest.param(
        "save: {every: {time: 0s}}",
        1,
        "every must be a whole number of at least 1, or a time. Received: every=0.0",
        id="every no time",
    ),
    pytest.param(
        "save: {every: 1, after: -1}",
        1,
        "save.after must be a whole number of at least 0. Received: -1",
        id="a negative warm-up",
    ),
    pytest.param(
        "save:\n  metric: loss\n  at_most:\n    {from: 1, to: 0}",
        3,
        "save.at_most must have exactly one of epochs, steps",
        id="a schedule over nothing",
    ),
    pytest.param(
        "save: {metric: loss, at_most: {from: 1, epochs: 3}}",
        1,
        "save.at_most needs the key 'to'",
        id="a schedule without an end",
    ),
    pytest.param(
        "save: {metric: loss, at_most: {from: 1, to: 0, epochs: 3, shape: wavy}}",
        1,
        "save.at_most.shape must be one of linear, cosine, exponential, steps. Received: 'wavy'",
        id="an unknown shape",
    ),
    pytest.param(
        "save: {metric: loss, at_most: {from: 1, to: 0, epochs: 3, shape: exponential}}",
        1,
        "An exponential schedule needs both ends above zero",
        id="a ratio to zero",
    ),
    pytest.param(
        "save: {metric: loss, at_most: {from: 1, to: 0, epochs: 3, shape: steps}}",
        1,
        "stairs goes with shape: steps, and shape: steps needs stairs",
        id="steps without stairs",
    ),
    pytest.param(
        "save: {every: 1}\nkeep: {}",
        2,
        "keep needs at least one of best, last, milestone, within, budget",
        id="an empty keep",
    ),
    pytest.param(
        "keep: {last: 0}", 1, "keep.last must be a whole number of at least 1. Received: 0", id="keeping none"
    ),
    pytest.param(
        "keep:\n  best: {metric: loss, n: 3}", 2, "keep.best needs the key 'mode'", id="best without a direction"
    ),
    pytest.param(
        "keep:\n  best: {metric: loss, mode: low, n: 3}",
        2,
        "keep.best.mode must be one of min, max. Received: 'low'",
        id="best in another direction",
    ),
    pytest.param(
        "keep: {within: 2 days}",
        1,
        'keep.within must be a time such as "90s", "15m", "24h" or "2d". Received: \'2 days\'',
        id="days by another name",
    ),
    pytest.param(
        "keep: {within: 0s}", 1, "within must be a time above 0s. Received: within=0.0", id="keeping for no time"
    ),
    pytest.param(
        "keep: {budget: 10Gb}",
        1,
        'keep.budget must be a size such as "10GiB" or "500MB". Received: \'10Gb\'',
        id="a size by another name",
    ),
    pytest.param(
        "keep: {budget: 0B}",
        1,
        "budget must be a whole number of at least 1. Received: budget=0",
        id="a budget of nothing",
    ),
    pytest.param(
        "keep: {budget: 99999PB}",
        1,
        'keep.budget must be a size such as "10GiB" or "500MB", less than this',
        id="a budget beyond all measure",
    ),
    pytest.param("filter: {}", 1, "filter must have exactly one of all, any, not, metric, every", id="an empty filter"),
    pytest.param(
        "filter:\n  top: {metric: loss, mode: min, n: 0}",
        2,
        "filter.top.n must be a whole number of at least 1",
        id="the top none",
    ),
    pytest.param("filter: {every: 2, after: 3}", 1, "filter.after is not a known key here", id="a warm-up in filter"),
    pytest.param("prune: {grace: -1h}", 1, "prune.grace must be a time such as", id="a negative grace"),
    pytest.param(
        "prune: {keep_last: 0}",
        1,
        "prune.keep_last must be a whole number of at least 1. Received: 0",
        id="not even the last",
    ),
    pytest.param(
        "prune: {max_fraction: 1.5}",
        1,
        "max_fraction must be above 0 and at most 1. Received: max_fraction=1.5",
        id="more than all",
    ),
    pytest.param(
        "prune: {max_fraction: 0}",
        1,
        "max_fraction must be above 0 and at most 1. Received: max_fraction=0",
        id="a fraction of nothing",
    ),
    pytest.param(
        "prune: {max_fraction: false}",
        1,
        "prune.max_fraction must be a finite number. Received: False",
        id="no as a fraction",
    ),
    pytest.param(
        "prune: {within: 0s}", 1, "within must be a time above 0s. Received: within=0.0", id="younger than 0s"
    ),
    pytest.param("prune: {budget: 0B}", 1, "budget must be a whole number of at least 1", id="room for nothing"),
    pytest.param(
        "save: {every: 1}\nprune:\n  grace: 1h\n  grace: 2h",
        4,
        "the key 'grace' is there twice, first in line 3",
        id="a key twice",
    ),
    pytest.param(
        '{"save": {"every": 1},\n "save": {"every": 2}}',
        2,
        "the key 'save' is there twice, first in line 1",
        id="a key twice in JSON",
    ),
    pytest.param("save: {every: 1", 1, "is not valid YAML", id="no YAML"),
    pytest.param("save: &a {every: 1}\nfilter: *a", 2, "the alias *a is not supported", id="an alias"),
    pytest.param("save: !!python/object:os.system {every: 1}", 1, "the tag", id="a tag that would run code"),
]


@pytest.mark.parametrize(("text", "line", "words"), MISTAKES)
def test_a_mistake_is_answered_with_its_line_and_its_key(text, line, words):
    with pytest.raises(RuleError) as error:
        parse_rules(text, "gate.yaml")
    assert str(error.value).startswith(f"gate.yaml line {line}")
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("written", ["95", "1.50", "-0.5"])
def test_a_fraction_out_of_range_is_told_as_the_number_that_is_written(written):
    with pytest.raises(RuleError, match=rf"max_fraction={float(written):g}\.$"):
        parse_rules(f"prune: {{max_fraction: {written}}}")


def test_a_mistake_in_a_mapping_names_the_key():
    with pytest.raises(RuleError, match=r"^rules: save\.all\.1\.at_most must be a finite number\. Received: 'low'\.$"):
        rules_from_mapping({"save": {"all": [{"every": 1}, {"metric": "loss", "at_most": "low"}]}})


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(RuleError, match=r"The rules file .*gate\.yaml cannot be read: .*No such file"):
        load_rules(tmp_path / "gate.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"save: {metric: \xe9, at_most: 1}")
    with pytest.raises(RuleError, match=r"The rules file .*latin\.yaml cannot be read: .*utf-8"):
        load_rules(tmp_path / "latin.yaml")


def test_a_mistake_in_a_file_names_the_file(tmp_path):
    path = tmp_path / "gate.yaml"
    path.write_text("# rules\nsave: {every: 0}\n")
    with pytest.raises(RuleError, match=r"gate\.yaml line 2: save\.every must be"):
        load_rules(path)
    path.write_text(WHOLE)
    assert load_rules(str(path)) == parse_rules(WHOLE)


# Texts of every form.

metrics = st.sampled_from(["loss", "val_loss", "accuracy", "a metric: with, odd {marks}", "µ", "true", "1"])
numbers = st.floats(-1e300, 1e300) | st.integers(-100, 100)
counts = st.integers(1, 1000)
times = st.builds(lambda n, unit: f"{n}{unit}", st.integers(1, 10**6), st.sampled_from("smhdw")) | st.sampled_from(
    ["0.5s", "1.25h", "0.000001d", "1.123456w", "1234567.5s", "99999999999s"]
)
sizes = st.builds(
    lambda n, unit: f"{n}{unit}", counts, st.sampled_from(["B", "kBiB", "MB", "GiB", "TB", "PiB"])
).filter(lambda text: "kB" not in text)
bests = st.fixed_dictionaries({"metric": metrics, "mode": st.sampled_from(["min", "max"]), "n": counts})


@st.composite
def schedules(draw):
    shape = draw(st.sampled_from(["linear", "cosine", "exponential", "steps"]))
    ends = st.floats(1e-9, 1e9) if shape == "exponential" else numbers
    text = {"from": draw(ends), "to": draw(ends), draw(st.sampled_from(["epochs", "steps"])): draw(counts)}
    text |= {"shape": shape} if shape != "linear" or draw(st.booleans()) else {}
    return text | ({"stairs": draw(counts)} if shape == "steps" else {})


@st.composite
def single_rules(draw, save):
    if draw(st.integers(0, 3)) == 0:
        periods = counts | st.builds(lambda unit, n: {unit: n}, st.sampled_from(["epochs", "steps"]), counts)
        return {"every": draw(periods | times.map(lambda text: {"time": text}))}
    rule = {"metric": draw(metrics)}
    if save and draw(st.booleans()):
        rule |= {"improves": draw(st.sampled_from(["min", "max"]))}
        return rule | draw(st.sampled_from([{}, {"min_delta": 0}, {"min_delta": 0.25}, {"min_delta": 1}]))
    kinds = ["moving_average", "exponential_average"] + ([] if save else ["centred_average"])
    kind = draw(st.none() | st.sampled_from(kinds))
    if kind is not None:
        rule[kind] = 2 * draw(counts) + 1
    return rule | {draw(st.sampled_from(["at_most", "at_least"])): draw(numbers | schedules())}


def nested_rules(save):
    return st.recursive(
        single_rules(save),
        lambda inner: (
            st.builds(
                lambda key, parts: {key: parts},
                st.sampled_from(["all", "any"]),
                st.lists(inner, min_size=1, max_size=3),
            )
            | inner.map(lambda rule: {"not": rule})
        ),
        max_leaves=6,
    )


keeps = st.fixed_dictionaries(
    {}, optional={"best": bests, "last": counts, "milestone": counts, "within": times, "budget": sizes}
).filter(bool)
prunes = st.fixed_dictionaries(
    {},
    optional={
        "grace": times,
        "keep_last": counts,
        "max_fraction": st.floats(0.01, 1) | st.just(1),
        "within": times,
        "budget": sizes,
    },
)


@st.composite
def rule_texts(draw):
    text = {}
    if draw(st.booleans()):
        text["save"] = draw(nested_rules(True)) | draw(st.sampled_from([{}, {"after": 0}, {"after": 5}]))
    if draw(st.booleans()):
        text["keep"] = draw(keeps)
    if draw(st.booleans()):
        text["filter"] = draw(nested_rules(False)) | ({"top": draw(bests)} if draw(st.booleans()) else {})
    if draw(st.booleans()) or not text:
        text["prune"] = draw(prunes)
    return text


many = settings(
    max_examples=250, deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)


def as_yaml(value):
    class Sink(list):
        write = list.append

    yaml, sink = YAML(typ="safe", pure=True), Sink()
    yaml.version = "1.2"
    yaml.dump(value, sink)
    text = "".join(part if isinstance(part, str) else part.decode() for part in sink)
    return text.partition("---\n")[2]


@many
@given(rule_texts())
def test_what_is_read_is_written_back_without_loss(text):
    rules = rules_from_mapping(text)
    again = parse_rules(rules.to_json())
    assert again == rules
    assert (again.to_json(), again.digest()) == (rules.to_json(), rules.digest())
    assert write_rules(again) == write_rules(rules)


@settings(many, max_examples=100)
@given(rule_texts())
def test_json_and_yaml_are_read_the_same(text):
    rules = rules_from_mapping(text)
    assert parse_rules(json.dumps(text)) == rules
    assert parse_rules(json.dumps(text, indent=2, ensure_ascii=False)) == rules
    assert parse_rules(as_yaml(text)) == rules


def shuffled(value, order):
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: order.random())
        return {key: shuffled(value[key], order) for key in keys}
    return [shuffled(item, order) for item in value] if isinstance(value, list) else value


@settings(many, max_examples=100)
@given(rule_texts(), st.integers(0, 1000))
def test_the_digest_does_not_depend_on_the_order_of_keys(text, seed):
    assert rules_from_mapping(shuffled(text, random.Random(seed))).digest() == rules_from_mapping(text).digest()


def read_or_answer(read, value):
    """The rules, or the sentence that refuses them; any other error goes through."""
    try:
        return read(value), None
    except RuleError as error:
        return None, str(error)


KEYS = [
    *("save", "keep", "filter", "prune", "all", "any", "not", "metric", "every", "at_most", "at_least", "improves"),
    *(
        "min_delta",
        "moving_average",
        "centred_average",
        "after",
        "top",
        "best",
        "last",
        "within",
        "budget",
        "from",
        "to",
    ),
    *("epochs", "steps", "time", "shape", "stairs", "mode", "n", "grace"),
]

junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=4)
    | st.sampled_from(["loss", "min", "1h", "1GB"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(KEYS),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)


@settings(many, max_examples=700)
@given(st.dictionaries(st.sampled_from(["save", "keep", "filter", "prune", "odd"]), junk, max_size=2) | junk)
def test_junk_is_answered_with_a_rule_error_or_read(value):
    rules, answer = read_or_answer(rules_from_mapping, value)
    assert answer is None or answer.startswith("rules: ")
    assert rules is None or parse_rules(rules.to_json()) == rules


@settings(many, max_examples=500)
@given(st.text(st.sampled_from("save: {metric,at_most[]1.5}\n-\t'\"#&*!|>%@`é\x00\ud800"), max_size=40))
def test_any_text_is_answered_with_a_rule_error_or_read(text):
    rules, answer = read_or_answer(parse_rules, text)
    assert isinstance(rules, RuleSet) or answer.startswith("rules")


@pytest.mark.parametrize(
    ("left", "right"),
    [
        pytest.param(Threshold("x", at_most=1), Threshold("x", at_most=1.0), id="1 and 1.0"),
        pytest.param(Threshold("x", at_most=-0.0), Threshold("x", at_most=0.0), id="zero and minus zero"),
        pytest.param(Threshold("x", Schedule(1, 0, 5)), Threshold("x", Schedule(1.0, 0.0, 5)), id="whole ends and not"),
        pytest.param(Improves("x", "min", 1), Improves("x", "min", 1.0), id="a whole min_delta and not"),
        pytest.param(All([Every(1)]), All((Every(1),)), id="a list of rules and a tuple"),
        pytest.param(Every(30, "seconds"), Every(30.0, "seconds"), id="whole seconds and not"),
    ],
)
def test_equal_rules_built_in_python_have_equal_digests(left, right):
    assert left == right
    assert RuleSet(save=Gate(left)).digest() == RuleSet(save=Gate(right)).digest()


def test_each_reader_gets_the_sections_that_concern_it():
    rules = parse_rules(WHOLE)
    assert rules.cut("save", "keep") == RuleSet(save=rules.save, keep=rules.keep)
    assert set(json.loads(rules.cut("filter", "prune").to_json())) == {"filter", "prune"}
    changed = parse_rules(WHOLE.replace("n: 10", "n: 9"))
    assert changed.cut("save", "keep").digest() == rules.cut("save", "keep").digest()
    assert changed.cut("filter").digest() != rules.cut("filter").digest()


@pytest.mark.parametrize(
    "character",
    [chr(code) for code in (0x00, 0x0A, 0x22, 0x5C, 0x7F, 0x85, 0x9F, 0xA0, 0xE9, 0x2028, 0xFEFF, 0xFFFF, 0x1F600)],
    ids=lambda character: f"{ord(character):04X}",
)
def test_a_name_may_hold_any_character(character):
    rules = RuleSet(save=Gate(Threshold(f"a{character}b", at_most=1)))
    assert parse_rules(rules.to_json()) == rules


class OwnAverage(MovingAverage):
    """Reads as it likes."""


class OwnSchedule(Schedule):
    """Goes as it likes."""


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        pytest.param(
            Threshold("x", at_most=1, average=OwnAverage(3)),
            "An average of one's own has no text: write a rule of one's own instead. Received: OwnAverage",
            id="an average of one's own",
        ),
        pytest.param(
            Threshold("x", at_most=OwnSchedule(1, 0, 5)),
            "A schedule of one's own has no text: write a rule of one's own instead. Received: OwnSchedule",
            id="a schedule of one's own",
        ),
    ],
)
def test_what_has_no_text_is_not_written_as_something_else(rule, words):
    with pytest.raises(RuleError, match=words):
        RuleSet(save=Gate(rule)).to_json()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("15m", 900),
        ("24h", 86400),
        ("2d", 172800),
        ("1w", 604800),
        ("1.5h", 5400),
        ("0s", 0),
        ("2 d", 172800),
    ],
)
def test_a_time_is_read_and_written_back(text, seconds):
    assert parse_duration(text) == seconds
    assert parse_duration(format_duration(seconds)) == seconds


@pytest.mark.parametrize("text", ["", "s", "1", "1y", "-1s", "1e3s", "1 000s", "1h30m", " 1s", "1s\n", "inf s", "nan"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(ValueError, match="must be a time such as"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [("1B", 1), ("500MB", 500 * 10**6), ("10GiB", 10 * 2**30), ("1.5KiB", 1536), ("1TB", 10**12), ("1024PiB", 2**60)],
)
def test_a_size_is_read_and_written_back(text, size):
    assert parse_size(text) == size
    assert parse_size(exact_size(size)) == size


@pytest.mark.parametrize("text", ["", "10", "10 gib", "10Gi", "-1B", "0x10B", "1EB"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(ValueError, match="must be a size such as"):
        parse_size(text)


@many
@given(st.integers(0, 2**60) | st.integers(0, 5000))
def test_every_size_and_every_time_is_written_back_exactly(number):
    assert parse_size(exact_size(number)) == number
    seconds = number / 1000
    assert parse_duration(format_duration(round(seconds, 6))) == round(seconds, 6)


@pytest.mark.parametrize(
    ("size", "words"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (3.4 * 2**20, "3.4 MiB"), (5 * 2**40, "5.0 TiB")],
)
def test_a_size_for_a_reader(size, words):
    assert format_size(size) == words


# Rules as a caller gives them


@pytest.mark.parametrize(
    ("given", "message"),
    [
        pytest.param("", "The rules are empty.", id="an empty text is not the folder one stands in"),
        pytest.param(" \n", "The rules are empty.", id="nor is a blank one"),
        pytest.param(
            "save: all",
            "rules line 1: save must be a rule: a mapping with",
            id="a key and a value on one line are text",
        ),
        pytest.param("save:", "rules line 1: save must be a rule: a mapping with", id="a key alone is text"),
        pytest.param("gate.yaml", "The rules file gate.yaml cannot be read: ", id="a name is a file's"),
        pytest.param("C:/gate.yaml", "The rules file C:/gate.yaml cannot be read: ", id="so is one with a drive"),
    ],
)
def test_what_a_string_is_taken_for(given, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RuleError) as caught:
        as_rules(given)
    assert str(caught.value).startswith(message)


WITH_RULES = "# a pipeline\nname: mine\nrules:\n  save: {metric: loss, at_most: LIMIT}\nlabel: price\n"


def test_the_rules_of_a_pipeline_yaml_are_read(tmp_path):
    path = tmp_path / "pipeline.yaml"
    path.write_text(WITH_RULES.replace("LIMIT", "0.5"))
    assert load_rules(path) == as_rules(str(path)) == parse_rules("save: {metric: loss, at_most: 0.5}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(
            WITH_RULES.replace("LIMIT", "high"), "line 4: rules.save.at_most must be", id="an error names its line"
        ),
        pytest.param(
            "rules: {save: {every: 1}}", "line 1: rules is not a known key here", id="without a name it is no pipeline"
        ),
    ],
)
def test_what_a_pipeline_yaml_gets_wrong_is_told_with_its_line(text, message, tmp_path):
    path = tmp_path / "pipeline.yaml"
    path.write_text(text)
    with pytest.raises(RuleError) as caught:
        load_rules(path)
    assert str(caught.value).startswith(f"{path} {message}")
