"""Mutants of a module: the same source with one small thing wrong, as a slip of the keyboard or of the mind makes it.

The operators are those of Offutt et al., "An Experimental Determination of Sufficient Mutant Operators" (1996), for
relations, logic, arithmetic and constants, and the deletion of statements of Untch, "On Reduced Neighborhood Mutation
Analysis Using a Single Mutagenic Operator" (2009), which is what tells most of a protocol. Words, annotations and what
an error says are left as they are.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

_COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
_COMPUTED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
_LEFT_ALONE = ("annotation", "returns", "decorator_list")
_LEFT_OUT = (ast.Expr, ast.AugAssign, ast.Raise, ast.Return, ast.Continue, ast.Break, ast.Delete)


@dataclass(frozen=True, slots=True)
class Mutant:
    """A module with one thing wrong.

    Attributes:
      line: where it is wrong.
      what: how.
      source: the module's whole text.
    """

    line: int
    what: str
    source: str


@dataclass(frozen=True, slots=True)
class _Change:
    """Another value of a field of a node."""

    line: int
    what: str
    owner: ast.AST
    field: str
    value: object


def mutants_of(source: str) -> Iterator[Mutant]:
    """All mutants, in the order of the text."""
    tree = ast.parse(source)
    for change in _changes(tree):
        right = getattr(change.owner, change.field)
        setattr(change.owner, change.field, change.value)
        yield Mutant(change.line, change.what, ast.unparse(tree))
        setattr(change.owner, change.field, right)


def _changes(node: ast.AST) -> Iterator[_Change]:
    """What can be wrong in a node and below it."""
    if isinstance(node, (ast.JoinedStr, ast.Raise)):
        return
    yield from _within(node)
    for field, child in ast.iter_fields(node):
        if field in _LEFT_ALONE:
            continue
        for each in child if isinstance(child, list) else [child]:
            if isinstance(each, ast.AST):
                yield from _changes(each)


def _within(node: ast.AST) -> Iterator[_Change]:
    yield from _statements(node)
    match node:
        case ast.Compare():
            for place, operator in enumerate(node.ops):
                other = _COMPARED[type(operator)]()
                yield _change(node, "ops", [*node.ops[:place], other, *node.ops[place + 1 :]])
        case ast.BinOp() if type(node.op) in _COMPUTED:
            yield _change(node, "op", _COMPUTED[type(node.op)]())
        case ast.BoolOp():
            yield _change(node, "op", ast.Or() if isinstance(node.op, ast.And) else ast.And())
        case ast.If() | ast.While() | ast.IfExp():
            yield _change(node, "test", _negated(node.test))
        case ast.comprehension():
            for place, test in enumerate(node.ifs):
                rest = [*node.ifs[:place], *node.ifs[place + 1 :]]
                yield _Change(test.lineno, f"without `if {ast.unparse(test)}`", node, "ifs", rest)
        case ast.Constant() if isinstance(node.value, bool):
            yield _change(node, "value", not node.value)
        case ast.Constant() if isinstance(node.value, (int, float)):
            yield _change(node, "value", node.value + 1)


def _statements(node: ast.AST) -> Iterator[_Change]:
    """A function's statements left out, one at a time, or the guard around some of them."""
    if isinstance(node, (ast.Module, ast.ClassDef)):
        return
    for field in ("body", "orelse", "finalbody"):
        block = getattr(node, field, None)
        if not isinstance(block, list):
            continue
        for place, statement in enumerate(block):
            if isinstance(statement, ast.With):
                rest: list[ast.stmt] = statement.body
                what = "without `with " + ", ".join(map(ast.unparse, statement.items)) + "`"
            elif _can_be_left_out(statement):
                rest = [ast.Pass()]
                what = f"without `{ast.unparse(statement)}`"
            else:
                continue
            yield _Change(statement.lineno, what, node, field, [*block[:place], *rest, *block[place + 1 :]])


def _can_be_left_out(statement: ast.stmt) -> bool:
    """Whether the rest is a program: without an assignment to a name there is none, and every test would see it."""
    if isinstance(statement, ast.Assign):
        return any(isinstance(target, (ast.Attribute, ast.Subscript)) for target in statement.targets)
    is_text = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    return isinstance(statement, _LEFT_OUT) and not is_text


def _negated(test: ast.expr) -> ast.expr:
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return test.operand
    return ast.UnaryOp(ast.Not(), test)


def _change(node: ast.expr | ast.stmt, field: str, value: object) -> _Change:
    """One with its right and its wrong text."""
    right = getattr(node, field)
    before = ast.unparse(node if isinstance(node, ast.expr) else right)
    setattr(node, field, value)
    after = ast.unparse(node if isinstance(node, ast.expr) else getattr(node, field))
    setattr(node, field, right)
    return _Change(node.lineno, f"`{after}` for `{before}`", node, field, value)
