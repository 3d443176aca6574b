"""YAML and JSON text as plain data that remembers its lines."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkpoint_gate.rule_text.located_yaml import MAX_BYTES, YamlError, plain_scalar, read_located


@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param("1e-3", 0.001, id="1e-3 is a float"),
        pytest.param("no", "no", id="no is text"),
        pytest.param("on", "on", id="on is text"),
        pytest.param("true", True, id="true is a boolean"),
        pytest.param("~", None, id="a tilde is nothing"),
        pytest.param("010", 10, id="a leading zero is not octal"),
        pytest.param("0o17", 15, id="octal has its own prefix"),
        pytest.param("12:30", "12:30", id="a time is text"),
        pytest.param("2024-01-31", "2024-01-31", id="a date is text"),
        pytest.param("1_000", "1_000", id="an underscore makes text"),
        pytest.param(".5", 0.5, id="no digit before the point"),
        pytest.param("-.inf", -math.inf, id="minus infinity"),
        pytest.param("'1'", "1", id="quotes make text"),
        pytest.param("24h", "24h", id="a duration is text"),
    ],
)
def test_scalars_follow_the_core_schema(text, value):
    read = read_located(f"a: {text}", "t").data["a"]
    assert read == value
    assert type(read) is type(value)


def test_not_a_number_is_read():
    assert math.isnan(read_located("a: .nan", "t").data["a"])


def test_every_path_knows_its_line():
    located = read_located("# first\na: 1\nb:\n  - x: [1,\n         2]\n    y: {z: 3}\n", "pipeline.yaml")
    assert located.data == {"a": 1, "b": [{"x": [1, 2], "y": {"z": 3}}]}
    assert dict(located.lines) == {
        (): 2,
        ("a",): 2,
        ("b",): 3,
        ("b", 0): 4,
        ("b", 0, "x"): 4,
        ("b", 0, "x", 0): 4,
        ("b", 0, "x", 1): 5,
        ("b", 0, "y"): 6,
        ("b", 0, "y", "z"): 6,
    }


@pytest.mark.parametrize(
    ("path", "words"),
    [
        pytest.param(("b", 0), "p.yaml line 3", id="a part"),
        pytest.param(("b", 0, "gone", 7), "p.yaml line 3", id="the nearest ancestor of a part that is missing"),
        pytest.param((), "p.yaml line 1", id="the whole"),
    ],
)
def test_where(path, words):
    assert read_located("a: 1\nb:\n  - c: 1\n", "p.yaml").where(path) == words


def test_an_empty_text_holds_nothing_and_has_no_lines():
    located = read_located("# only a comment\n", "p.yaml")
    assert located.data is None
    assert located.where(("a",)) == "p.yaml"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("a: 1\nb: 2\na: 3", "p line 3: the key 'a' is there twice, first in line 1.", id="duplicate key"),
        pytest.param(
            '{"a": {"b": 1, "b": 2}}', "p line 1: the key 'b' is there twice, first in line 1.", id="in JSON too"
        ),
        pytest.param(
            "a: &x [1]\nb: *x", "p line 2: the alias *x is not supported; write the value out.", id="an alias"
        ),
        pytest.param(
            "a: !!python/name:os.system x",
            "p line 1: the tag tag:yaml.org,2002:python/name:os.system is not supported; write a plain value.",
            id="a tag",
        ),
        pytest.param("a: 1\n---\nb: 1", "p line 2 starts a second document; only one is read.", id="two documents"),
        pytest.param("a:\n  1: x", "p line 2: the key 1 must be text; put it in quotes.", id="a number as a key"),
        pytest.param(
            "? [a]\n: x", "p line 1: a mapping or list as a key must be text; put it in quotes.", id="a list as a key"
        ),
        pytest.param("a: {b: 1\nc: 2", "p line 2 is not valid YAML: ", id="an open brace"),
        pytest.param("a:\n\tb: 1", "p line 2 is not valid YAML: found character '\\t' ", id="a tab says its line"),
        pytest.param("a:\n\tb: 1", "indent with spaces.", id="a tab says the way out"),
        pytest.param("a: 1\nb: \x07", "p line 2 holds the character '\\x07', which YAML forbids.", id="a control byte"),
        pytest.param("[" * 5000, "p line 1 is nested more than 40 levels deep.", id="nested without end"),
        pytest.param("a: " + "9" * 5000, "p line 1 holds a number of 5000 digits, which is too long.", id="digits"),
        pytest.param('a: "\\ud800"', "p line 1 holds half of a surrogate pair, which is no character.", id="half"),
        pytest.param(
            "#" * (MAX_BYTES + 1), "p is larger than 1 MiB, which is too large to be a configuration.", id="too large"
        ),
    ],
)
def test_what_is_not_read_says_the_line(text, message):
    with pytest.raises(YamlError) as caught:
        read_located(text, "p")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_alias_bomb_costs_nothing():
    bomb = "a: &a [x]\n" + "".join(
        f"{two}: &{two} [*{one},*{one}]\n" for one, two in zip("abcdefgh", "bcdefghi", strict=True)
    )
    with pytest.raises(YamlError, match="the alias \\*a is not supported"):
        read_located(bomb, "p")


def test_json_indented_by_tabs_is_read():
    assert read_located('{\n\t"a": [1,\n\t\t2.5e3, null, "x\\/y"]\n}', "p").data == {"a": [1, 2500.0, None, "x/y"]}


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**80), 2**80)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=20), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=20), plain, max_size=4), st.sampled_from([None, 2]))
def test_whatever_json_writes_is_read_back(data, indent):
    assert read_located(json.dumps(data, indent=indent), "p").data == data


@given(st.text(alphabet="0123456789+-.eExo_:infanulrtsTF~ ", max_size=8))
def test_a_plain_scalar_never_fails_on_short_text(text):
    assert isinstance(plain_scalar(text), (str, int, float, bool, type(None)))
