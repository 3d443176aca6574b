"""Rules of one's own: their text, what is answered to a wrong one, and what a judge of one's own may do wrong."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
import textwrap
from dataclasses import InitVar, dataclass, field, make_dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from checkpoint_gate.errors import RuleError
from checkpoint_gate.rule_text.own_code import own_code
from checkpoint_gate.rule_text.rule_set import RuleSet, parse_rules, rules_from_mapping, write_rules
from checkpoint_gate.rules.conditions import All, Any, Every, Judgement, Not, Rule, Threshold, start
from checkpoint_gate.rules.filtering import Filter
from checkpoint_gate.rules.gate import Gate
from checkpoint_gate.rules.records import Record
from checkpoint_gate.store import Store
from checkpoint_gate.training.gated_training import GatedTraining

HERE = __name__


class Stateless:
    """What the rules of this file have in common: they judge without a memory."""

    def metrics(self):
        return frozenset({"val_loss"})

    def start(self, future=None):
        return self

    def judge(self, record):
        return Judgement("holds", "always")

    def learn(self, record, saved):
        pass


@dataclass(frozen=True)
class Plateau(Stateless):
    """A field of every kind that a text can hold."""

    metric: str
    patience: int = 3
    least: float = 0.0
    sure: bool = False
    note: str | None = None
    factors: tuple[float, ...] = (1.0,)
    grid: tuple[tuple[int, ...], ...] = ()
    names: list[str] = field(default_factory=list)

    def __post_init__(self):
        if self.patience < 1:
            raise RuleError(f"patience must be at least 1. Received: patience={self.patience}.")


@dataclass(frozen=True)
class Always(Stateless):
    """No fields at all."""


class Outer:
    @dataclass(frozen=True)
    class Inner(Stateless):
        size: int = 1


@dataclass(frozen=True)
class Lenient(Threshold):
    """Derived from a rule of the package."""

    def start(self, future=None):
        return Always()


@dataclass
class Forgetful(Stateless):
    """Made of something that is no field."""

    size: int
    more: InitVar[int]

    def __post_init__(self, more):
        self.size += more


@dataclass
class Growing(Stateless):
    """Equal fields make another one."""

    size: int

    def __post_init__(self):
        self.size += 1


class Bare(Stateless):
    """No dataclass."""


class Careless(Plateau):
    """Derived from a dataclass, but none itself."""


@dataclass(frozen=True)
class Names(Stateless):
    """Answers with `names` when asked for its metrics."""

    names: object

    def metrics(self):
        return [] if self.names == "list" else self.names


def gentle(metric):
    return Plateau(metric, patience=9)


def a_number():
    return 5


def bare():
    return Bare()


FIVE = 5


def read(text):
    return parse_rules(f"save: {text}", "gate.yaml").save.rule


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        pytest.param(
            Plateau("val_loss", patience=5),
            {"rule": f"{HERE}:Plateau", "with": {"metric": "val_loss", "patience": 5}},
            id="fields are written by name",
        ),
        pytest.param(
            Plateau("x", 3, 0.0, False, None, (1.0,), (), []),
            {"rule": f"{HERE}:Plateau", "with": {"metric": "x"}},
            id="fields at their default are left out",
        ),
        pytest.param(Always(), {"rule": f"{HERE}:Always"}, id="a rule without fields has no `with`"),
        pytest.param(Outer.Inner(), {"rule": f"{HERE}:Outer.Inner"}, id="a class within a class has a dotted name"),
        pytest.param(
            Plateau("x", least=1, factors=(1, 2)),
            {"rule": f"{HERE}:Plateau", "with": {"metric": "x", "least": 1.0, "factors": [1.0, 2.0]}},
            id="whole numbers are floats where a float is declared",
        ),
        pytest.param(
            Plateau("x", sure=True, note="why", grid=((1, 2), ()), names=["a", "b"]),
            {
                "rule": f"{HERE}:Plateau",
                "with": {"metric": "x", "sure": True, "note": "why", "grid": [[1, 2], []], "names": ["a", "b"]},
            },
            id="text, yes and no, tuples and lists",
        ),
        pytest.param(
            Lenient("x", at_most=0.5),
            {"rule": f"{HERE}:Lenient", "with": {"metric": "x", "at_most": 0.5}},
            id="a class derived from a rule of the package is one's own",
        ),
    ],
)
def test_a_rule_of_ones_own_is_written_and_read_back(rule, text):
    rules = RuleSet(save=Gate(rule))
    assert write_rules(rules) == {"save": text}
    assert parse_rules(rules.to_json()) == rules
    assert type(parse_rules(rules.to_json()).save.rule) is type(rule)


@pytest.mark.parametrize(
    "place",
    [
        pytest.param(lambda own: RuleSet(save=Gate(own, after=2)), id="alone in save"),
        pytest.param(lambda own: RuleSet(filter=Filter(own)), id="alone in filter"),
        pytest.param(lambda own: RuleSet(save=Gate(All((Every(2), own)))), id="in all"),
        pytest.param(lambda own: RuleSet(save=Gate(Any((own, Every(2))))), id="in any"),
        pytest.param(lambda own: RuleSet(filter=Filter(Not(own))), id="under not"),
        pytest.param(lambda own: RuleSet(save=Gate(Not(All((Any((own,)),))))), id="deep below"),
    ],
)
def test_a_rule_of_ones_own_may_stand_wherever_a_rule_may(place):
    rules = place(Plateau("val_loss", 5))
    assert f'"rule": "{HERE}:Plateau"' in rules.to_json()
    assert parse_rules(rules.to_json()) == rules
    assert parse_rules(rules.to_json()).digest() == rules.digest()
    assert place(Plateau("val_loss", 6)).digest() != rules.digest()


@pytest.mark.parametrize(
    ("left", "right"),
    [
        pytest.param(Plateau("x", least=1), Plateau("x", least=1.0), id="1 and 1.0 where a float is declared"),
        pytest.param(Plateau("x", factors=(-0.0,)), Plateau("x", factors=(0.0,)), id="zero and minus zero"),
        pytest.param(Plateau("x", factors=(2,)), Plateau("x", factors=(2.0,)), id="1 and 1.0 in a tuple"),
    ],
)
def test_equal_rules_have_equal_digests(left, right):
    assert left == right
    assert RuleSet(save=Gate(left)).digest() == RuleSet(save=Gate(right)).digest()


plain = st.fixed_dictionaries(
    {"metric": st.text(st.characters(codec="utf-8"), max_size=5)},
    optional={
        "patience": st.integers(1, 10**20),
        "least": st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**30), 10**30),
        "sure": st.booleans(),
        "note": st.none() | st.text(st.characters(codec="utf-8"), max_size=5),
        "factors": st.lists(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-9, 9)).map(tuple),
        "grid": st.lists(st.lists(st.integers(-9, 9)).map(tuple)).map(tuple),
        "names": st.lists(st.sampled_from(["a", "true", "1", "0.5", "", "null"])),
    },
)


@settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(plain)
def test_every_plain_rule_is_written_and_read_back(values):
    rules = RuleSet(save=Gate(Plateau(**values)))
    again = rules_from_mapping(json.loads(rules.to_json()))
    assert again == rules
    assert (again.to_json(), again.digest()) == (rules.to_json(), rules.digest())


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        pytest.param(f"{{rule: '{HERE}:gentle', with: {{metric: x}}}}", Plateau("x", 9), id="a function that makes it"),
        pytest.param(f"{{rule: '{HERE}:Always', with: {{}}}}", Always(), id="an empty `with`"),
        pytest.param(f"{{rule: {HERE}:Always}}", Always(), id="quotes are not needed"),
        pytest.param(
            f"{{rule: '{HERE}:Plateau', with: {{metric: x, grid: [[1], [2, 3]], names: [a]}}}}",
            Plateau("x", grid=((1,), (2, 3)), names=["a"]),
            id="lists arrive as tuples, but where a list is declared",
        ),
    ],
)
def test_a_text_is_read(text, rule):
    assert read(text) == rule


def test_a_module_that_the_text_names_is_imported_and_no_other(tmp_path, monkeypatch):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "own_rules.py").write_text(f"from {HERE} import Plateau\n")
    (tmp_path / "own_other.py").write_text("raise AssertionError\n")
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    read("{every: 2}")
    assert set(sys.modules) == before
    assert read("{rule: 'folder.own_rules:Plateau', with: {metric: x}}") == Plateau("x")
    assert set(sys.modules) - before == {"folder", "folder.own_rules"}


@pytest.fixture
def own_files(tmp_path, monkeypatch):
    """Two modules with a rule each, and one that makes rules of them."""
    for name in ("own_first", "own_second"):
        (tmp_path / f"{name}.py").write_text(
            f"from dataclasses import dataclass\nfrom {HERE} import Stateless\n\n"
            f"@dataclass(frozen=True)\nclass Own(Stateless):\n    at_most: float = 0.5\n"
        )
    (tmp_path / "own_maker.py").write_text("from own_first import Own\n\ndef make():\n    return Own(0.1)\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in ("own_first", "own_second", "own_maker"):
        sys.modules.pop(name, None)


FIRST, SECOND, MADE = (f"{{rule: 'own_{name}'}}" for name in ("first:Own", "second:Own", "maker:make"))


@pytest.mark.parametrize(
    ("text", "edited", "differs"),
    [
        pytest.param(f"save: {FIRST}", "own_first", True, id="the rule's module"),
        pytest.param(f"save: {FIRST}", "own_second", False, id="a module that the text does not name"),
        pytest.param(f"save: {{all: [{{not: {FIRST}}}, {SECOND}]}}", "own_second", True, id="one of several, within"),
        pytest.param(f"save: {{every: 2}}\nfilter: {SECOND}", "own_second", True, id="in another section"),
        pytest.param(f"save: {MADE}", "own_first", True, id="of a rule that a function makes: its class's module"),
    ],
)
def test_an_edit_of_the_code_behind_a_text_shows(own_files, text, edited, differs):
    rules = parse_rules(text)
    before = own_code(rules)
    assert before == own_code(parse_rules(text))
    (own_files / f"{edited}.py").write_text((own_files / f"{edited}.py").read_text().replace("0.5", "0.6"))
    assert (own_code(rules) != before) is differs


def test_behind_a_text_without_rules_of_ones_own_is_no_code():
    assert own_code(parse_rules("save: {all: [{every: 2}, {metric: rule, at_most: 1}]}\nkeep: {last: 3}")) is None


def test_reading_rules_imports_neither_tensorflow_nor_tfx_nor_numpy():
    source = str(Path(__file__).parents[1] / "components")
    code = "import sys; from checkpoint_gate import parse_rules; parse_rules('save: {every: 2}'); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": source},
        capture_output=True,
        text=True,
        check=True,
    )
    assert {"tensorflow", "tfx", "keras", "numpy"}.isdisjoint(done.stdout.split())


WRONG = [
    pytest.param("{rule: Plateau}", 1, "save.rule must be of the form module:name", "'Plateau'", id="no module"),
    pytest.param("{rule: 'a.py:Plateau!'}", 1, "save.rule must be of the form module:name", "'a.py:Plateau!'", id="!"),
    pytest.param("{rule: '.own:Plateau'}", 1, "save.rule must be of the form module:name", "'.own:", id="relative"),
    pytest.param("{rule: 5}", 1, "save.rule must be of the form module:name", "5", id="a number"),
    pytest.param("{rule: [a]}", 1, "save.rule must be of the form module:name", "['a']", id="a list"),
    pytest.param(
        "\n  all:\n    - {rule: 'no_such_rules:Plateau'}",
        3,
        "save.all.0.rule must name a module that can be imported, installed or on PYTHONPATH "
        "(No module named 'no_such_rules')",
        "'no_such_rules:Plateau'",
        id="no such module",
    ),
    pytest.param(
        f"{{rule: '{HERE}:Platoon'}}",
        1,
        f"save.rule must name something in {HERE}, which has no Platoon",
        f"'{HERE}:Platoon'",
        id="no such name in the module",
    ),
    pytest.param(
        f"{{rule: '{HERE}:FIVE'}}",
        1,
        "save.rule must name a class or a function, which FIVE is not",
        ":FIVE'",
        id="a name of something else",
    ),
    pytest.param(
        "{rule: '__main__:Plateau'}",
        1,
        "save.rule must not name a rule of another script or notebook: put it into a module that can be imported",
        "'__main__:Plateau'",
        id="a rule of another script",
    ),
    pytest.param(
        f"{{rule: '{HERE}:Plateau'}}",
        1,
        "save.rule must be what the rule takes (Plateau.__init__() missing 1 required positional argument: 'metric')",
        ":Plateau'",
        id="a value too few",
    ),
    pytest.param(
        f"\n  rule: {HERE}:Plateau\n  with:\n    metric: x\n    patients: 5",
        3,
        "save.with must be what the rule takes (Plateau.__init__() got an unexpected keyword argument 'patients')",
        "{'metric': 'x', 'patients': 5}",
        id="a value too many",
    ),
    pytest.param(
        f"{{rule: '{HERE}:Plateau', with: {{metric: x, patience: 0}}}}",
        1,
        "save.with must be what the rule takes (patience must be at least 1)",
        "{'metric': 'x', 'patience': 0}",
        id="a value that the rule refuses",
    ),
    pytest.param(
        f"{{rule: '{HERE}:Plateau', with: [x]}}",
        1,
        "save.with must be a mapping of names to values",
        "['x']",
        id="a list of values",
    ),
    pytest.param(
        f"{{rule: '{HERE}:Always', with: }}", 1, "save.with must be a mapping", "None", id="nothing as `with`"
    ),
    pytest.param(
        f"\n  rule: {HERE}:Plateau\n  with:\n    metric: x\n    least: .nan",
        5,
        "save.with.least must be text, a finite number, true, false, null, or a list of these",
        "nan",
        id="a value that is not finite",
    ),
    pytest.param(
        f"{{rule: '{HERE}:Plateau', with: {{metric: {{a: 1}}}}}}",
        1,
        "save.with.metric must be text, a finite number, true, false, null, or a list of these",
        "{'a': 1}",
        id="a value that is a mapping",
    ),
    pytest.param(
        f"{{rule: '{HERE}:a_number'}}",
        1,
        "save.rule must make a rule, an object with start() and metrics(), but makes 5",
        ":a_number'",
        id="something that is no rule",
    ),
    pytest.param(
        f"{{rule: '{HERE}:Names', with: {{names: val_loss}}}}",
        1,
        "save.rule must make a rule whose metrics() is a set of names, but it is 'val_loss'",
        ":Names'",
        id="a name instead of a set of names",
    ),
    pytest.param(
        f"{{rule: '{HERE}:Names', with: {{names: list}}}}",
        1,
        "save.rule must make a rule whose metrics() is a set of names, but it is []",
        ":Names'",
        id="a list instead of a set of names",
    ),
    pytest.param(
        f"{{rule: '{HERE}:Always', metric: x}}",
        1,
        "save must have exactly one of all, any, not, metric, every, rule",
        f"{{'rule': '{HERE}:Always', 'metric': 'x'}}",
        id="a rule of one's own and a metric",
    ),
    pytest.param(
        f"{{rule: '{HERE}:Always', wiht: {{}}}}",
        1,
        "save.wiht is not a known key here (did you mean with?); known are rule, with",
        "{}",
        id="an unknown key",
    ),
]


@pytest.mark.parametrize(("text", "line", "words", "received"), WRONG)
def test_a_mistake_is_one_sentence_with_its_line_its_key_and_what_was_received(text, line, words, received):
    with pytest.raises(RuleError) as error:
        read(text)
    sentence = str(error.value)
    assert sentence.startswith(f"gate.yaml line {line}: {words}")
    assert received in sentence.partition(". Received: ")[2]
    assert sentence.count(". ") == 1
    assert "\n" not in sentence


def test_names_in_with_are_text():
    with pytest.raises(
        RuleError, match=r"^rules: save\.with must be a mapping of names to values\. Received: \{1: 2\}"
    ):
        rules_from_mapping({"save": {"rule": f"{HERE}:Always", "with": {1: 2}}})


@pytest.mark.parametrize(
    ("source", "words"),
    [
        pytest.param("def f(:\n", "SyntaxError: ", id="a module with a mistake in it"),
        pytest.param("import no_such_thing\n", "No module named 'no_such_thing'", id="a module that lacks another"),
        pytest.param("raise RuntimeError('no\\nway')\n", "RuntimeError: no way", id="a module that raises"),
        pytest.param("object.missing\n", "AttributeError: ", id="a module that looks for what is not there"),
    ],
)
def test_a_module_that_cannot_be_imported_says_why(tmp_path, monkeypatch, source, words):
    (tmp_path / "broken_rules.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    pattern = rf"save\.rule must name a module that can be imported.*\({re.escape(words)}.*Received: 'broken_rules:X'"
    with pytest.raises(RuleError, match=pattern):
        read("{rule: 'broken_rules:X'}")


def local():
    @dataclass(frozen=True)
    class Local(Stateless):
        pass

    return Local()


def renamed():
    made = make_dataclass("Plateau", [], bases=(Stateless,), frozen=True)
    made.__module__ = HERE
    return made()


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        pytest.param(
            Bare,
            f"{HERE}:Bare must be a dataclass, so that the rule has a text: "
            "put @dataclasses.dataclass(frozen=True) on it.",
            id="no dataclass",
        ),
        pytest.param(lambda: Careless("x"), f"{HERE}:Careless must be a dataclass", id="derived from a dataclass only"),
        pytest.param(
            local,
            f"{HERE}:local.<locals>.Local is defined inside a function, where no text can name it: "
            "move it to its module's top level.",
            id="defined inside a function",
        ),
        pytest.param(renamed, f"{HERE}:Plateau must be where its name says", id="another class of that name"),
        pytest.param(
            lambda: Plateau({"a": 1}),
            f"The field metric of {HERE}:Plateau must be text, a finite number, true, false, null, or a list of these, "
            "so that it has a text. Received: {'a': 1}.",
            id="a mapping in a field",
        ),
        pytest.param(lambda: Plateau("x", least=math.inf), "The field least of", id="an infinity in a field"),
        pytest.param(lambda: Plateau("x", patience=10**400), "The field patience of", id="a number beyond measure"),
        pytest.param(lambda: Plateau("x", factors=(1.0, {2.0})), "The field factors of", id="a set within a tuple"),
        pytest.param(
            lambda: Forgetful(1, more=2),
            f"The fields of {HERE}:Forgetful must be all that it is made of, so that it has a text: it must be what",
            id="made of what is no field",
        ),
        pytest.param(
            lambda: Growing(1),
            f"{HERE}:Growing must equal what its own fields make, so that it has a text. Received: Growing(size=2); "
            "read back: Growing(size=3).",
            id="a rule that changes its fields",
        ),
        pytest.param(
            lambda: Plateau("x", names=("a",)), f"{HERE}:Plateau must equal what its own", id="a tuple for a list"
        ),
        pytest.param(
            lambda: Plateau, "A rule must be an object, not a class: make one, Plateau(...).", id="the class itself"
        ),
        pytest.param(
            lambda: Names(["x"]),
            f"The fields of {HERE}:Names must be all that it is made of, so that it has a text: it must make a rule "
            "whose metrics() is a set of names, but it is ('x',).",
            id="metrics that are no set",
        ),
    ],
)
def test_a_rule_that_no_text_can_hold_is_refused_with_what_to_do(rule, words):
    with pytest.raises(RuleError) as error:
        RuleSet(save=Gate(rule())).to_json()
    assert str(error.value).startswith(words)


SCRIPT = """
    from dataclasses import dataclass

    from checkpoint_gate.rules.gate import Gate
    from checkpoint_gate.rule_text.rule_set import RuleSet, parse_rules
    from checkpoint_gate.rules.conditions import Every, Judgement, Not

    @dataclass(frozen=True)
    class Always:
        size: int = 1

        def metrics(self):
            return frozenset()

        def start(self, future=None):
            return self

        def judge(self, record):
            return Judgement("holds", "always")

        def learn(self, record, saved):
            pass

    rules = RuleSet(save=Gate(Not(Always(2))))
    assert parse_rules(rules.to_json()) == rules
    print(rules.to_json())
"""


def test_a_rule_of_a_script_has_a_text_within_that_script_only():
    source = str(Path(__file__).parents[1] / "components")
    script = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SCRIPT)],
        env=os.environ | {"PYTHONPATH": source},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(script.stdout) == {"save": {"not": {"rule": "__main__:Always", "with": {"size": 2}}}}
    with pytest.raises(RuleError, match=r"line 1: save\.not\.rule must not name a rule of another script or notebook"):
        parse_rules(script.stdout)


def test_training_says_in_its_run_by_which_rule_it_saves(tmp_path):
    rules = RuleSet(save=Gate(All((Plateau("val_loss", patience=5), Every(1)))))
    training = GatedTraining(Store(tmp_path / "store"), rules, "first")
    gate = Store.open(tmp_path / "store").run("first").about()["gate"]
    assert gate == write_rules(rules)
    assert rules_from_mapping(gate) == rules
    training.abandon()


# What a judge of one's own may do wrong.


@dataclass(frozen=True)
class Answers(Stateless):
    """Starts a judge that answers with the next of `answers`, and raises those that are errors."""

    answers: tuple
    start_with: object = None
    learning: object = None

    def start(self, future=None):
        if isinstance(self.start_with, Exception):
            raise self.start_with
        return self.start_with or _Answering(self)


class _Answering:
    def __init__(self, rule):
        self._answers = iter(rule.answers)
        self._learning = rule.learning

    def judge(self, record):
        answer = next(self._answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def learn(self, record, saved):
        if self._learning:
            raise self._learning


RECORD = Record(7, 2, {"val_loss": 0.5})


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        pytest.param(
            Answers((True,)),
            f"The rule {HERE}:Answers must answer with a Judgement that holds, fails or is unknown, and a reason. "
            "Received: True at step 7 of epoch 3.",
            id="yes is no judgement",
        ),
        pytest.param(Answers((None,)), "must answer with a Judgement.*Received: None at", id="nothing is no judgement"),
        pytest.param(Answers((Judgement("yes", "so"),)), "must answer with a Judgement", id="yes is no truth"),
        pytest.param(Answers((Judgement(True, "so"),)), "must answer with a Judgement", id="True is no truth"),
        pytest.param(Answers((Judgement("holds", None),)), "must answer with a Judgement", id="nothing is no reason"),
        pytest.param(
            Answers((Judgement("fails", "so", shortfall="far"),)),
            "must answer with a Judgement",
            id="far is no distance",
        ),
        pytest.param(
            Answers((KeyError("val_los"),)),
            f"The rule {HERE}:Answers failed to judge step 7 of epoch 3: KeyError: 'val_los'.",
            id="a judge that raises",
        ),
        pytest.param(
            Answers((Judgement("holds", "so"),), learning=ValueError("no")),
            f"The rule {HERE}:Answers failed to learn step 7 of epoch 3: ValueError: no.",
            id="a judge that raises when it learns",
        ),
        pytest.param(
            Answers((), start_with=OSError("gone")),
            f"The rule {HERE}:Answers cannot start: OSError: gone.",
            id="a rule that raises when it starts",
        ),
        pytest.param(
            Answers((), start_with="judge"),
            f"The rule {HERE}:Answers must start a judge, which has judge\\(\\) and learn\\(\\). Received: 'judge'.",
            id="a start that starts no judge",
        ),
    ],
)
@pytest.mark.parametrize(
    "within",
    [
        pytest.param(lambda own: All((own,)), id="in all"),
        pytest.param(lambda own: Any((Every(1), own)), id="in any, whatever the others say"),
        pytest.param(Not, id="under not"),
    ],
)
def test_what_a_judge_does_wrong_is_one_sentence_and_never_saves(rule, words, within):
    with pytest.raises(RuleError, match=words) as error:
        Gate(within(rule)).decide([RECORD])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("said", "judged"),
    [
        pytest.param(
            Judgement("fails", "too far", ("gap at most 1",), 0.25),
            Judgement("fails", "too far", ("gap at most 1",), 0.25),
            id="what was said is left as it is",
        ),
        pytest.param(
            Judgement("fails", "too far"),
            Judgement("fails", "too far", (f"{HERE}:Answers",), math.inf),
            id="a failure without clause and distance counts, and is no near miss",
        ),
        pytest.param(
            Judgement("unknown", "?", (), math.nan),
            Judgement("unknown", "?", (f"{HERE}:Answers",), math.inf),
            id="no number is no distance",
        ),
        pytest.param(
            Judgement("holds", "fine", (), 3.0),
            Judgement("holds", "fine", (f"{HERE}:Answers",), 0.0),
            id="nothing short",
        ),
    ],
)
def test_what_a_judgement_leaves_out_is_filled_in(said, judged):
    assert start(Answers((said,))).judge(RECORD) == judged


def test_a_rule_of_the_package_is_not_watched_and_one_derived_from_it_is():
    rule, derived = Threshold("x", at_most=1.0), Lenient("x", at_most=1.0)
    assert type(start(rule)) is type(rule.start())
    assert type(start(derived)) is not type(derived.start())


def test_a_rule_of_ones_own_sees_the_future_in_a_filter_and_none_in_a_gate():
    seen = []

    class Curious(Stateless):
        def start(self, future=None):
            seen.append(future)
            return self

    Gate(All((Curious(),))).replay([RECORD])
    Filter(All((Curious(),))).replay([RECORD])
    assert seen == [None, [RECORD]]


def test_every_rule_of_this_file_is_a_rule():
    assert isinstance(Plateau("x"), Rule)
