"""Mutants of a source: what is made wrong in it, and what is left alone."""

from __future__ import annotations

import pytest
from faults.mutants import mutants_of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            "if a < b:\n    x = c", ["if not a < b", "if a <= b"], id="a condition is negated, a relation shifted"
        ),
        pytest.param("if not a:\n    x = c", ["if a"], id="a negation goes"),
        pytest.param("x = a and b", ["x = a or b"], id="and becomes or"),
        pytest.param("x = a in b", ["x = a not in b"], id="in becomes not in"),
        pytest.param("x = a - 1", ["x = a + 1", "x = a - 2"], id="arithmetic and constants"),
        pytest.param("x = f(sure=True)", ["x = f(sure=False)"], id="a flag is turned round"),
        pytest.param("x = [a for a in b if c if d]", ["if d]", "if c]"], id="each of two conditions goes"),
        pytest.param("x = b if c else d", ["x = b if not c else d"], id="the other one of two"),
        pytest.param("x: 'int | None' = a | b", ["a & b"], id="an annotation is none of it"),
        pytest.param("x = 'some words'", [], id="words are left as they are"),
        pytest.param("x = f'{a + 1}'", [], id="words with something in them, too"),
    ],
)
def test_what_can_be_wrong_outside_of_functions(text, expected):
    found = list(mutants_of(text))
    assert len(found) == len(expected)
    assert all(piece in mutant.source for mutant, piece in zip(found, expected, strict=True))


@pytest.mark.parametrize(
    ("statement", "without"),
    [
        pytest.param("go(a)", "pass", id="a call"),
        pytest.param("return a", "pass", id="an answer"),
        pytest.param("raise ValueError(a < 1)", "pass", id="an error, as a whole"),
        pytest.param("self.a = a", "pass", id="what is kept"),
        pytest.param("with lock(a):\n    a.b", "a.b", id="a guard, but not what it guards"),
    ],
)
def test_statements_of_a_function_are_left_out(statement, without):
    body = "\n".join("    " + line for line in statement.splitlines())
    first, *others = mutants_of(f"def f(self, a):\n{body}\n")
    assert first.source == f"def f(self, a):\n    {without}"
    assert (first.line, first.what[:8]) == (2, "without ")
    assert len(others) == statement.startswith("with")


@pytest.mark.parametrize("statement", ["x = a", "x, y = a", "'words'", "pass"])
def test_what_no_program_can_do_without_stays(statement):
    assert not list(mutants_of(f"def f(a):\n    {statement}\n"))


def test_each_mutant_differs_from_the_source_in_one_place():
    text = "def f(a, b=1):\n    if a < b:\n        return a\n    go(b)\n"
    sources = [mutant.source for mutant in mutants_of(text)]
    assert len(set(sources)) == len(sources) == 5
    assert sum("return a" not in source for source in sources) == 1
