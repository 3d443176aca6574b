"""Rules of one's own: any object with `start()` and `metrics()`, as `judgement.Rule` says.

In a rule text, `{rule: "my_package.my_rules:Plateau", with: {metric: val_loss, patience: 3}}` imports the module and
calls what it names there. Reading such a text runs code, so it is to be trusted as code is.
"""

from __future__ import annotations

import importlib
import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, cast, get_args

from checkpoint_gate.errors import RuleError
from checkpoint_gate.rules.judgement import Judge, Judgement, Rule, Truth
from checkpoint_gate.rules.records import Record

SCRIPT = "__main__"
PLAIN = "text, a finite number, true, false, null, or a list of these"


def name_of(rule: object) -> str:
    """What a rule text calls the class of `rule`: module:name."""
    return f"{type(rule).__module__}:{type(rule).__qualname__}"


# From text to rule.


def find(name: str) -> Callable[..., object]:
    """What `name`, module:name, stands for; imports the module.

    Raises:
      ValueError: the rest of a sentence that begins with the key: what must hold.
    """
    if not isinstance(name, str) or not re.fullmatch(r"\w+(\.\w+)*:\w+(\.\w+)*", name):
        raise ValueError("must be of the form module:name, such as my_package.my_rules:Plateau")
    module, _, attribute = name.partition(":")
    try:
        home = importlib.import_module(module)
    except Exception as error:
        said = _said(error, ImportError)
        raise ValueError(f"must name a module that can be imported, installed or on PYTHONPATH ({said})") from error
    try:
        found = _look_up(home, attribute)
    except AttributeError:
        if module == SCRIPT:
            raise ValueError(
                "must not name a rule of another script or notebook: put it into a module that can be imported"
            ) from None
        raise ValueError(f"must name something in {module}, which has no {attribute}") from None
    if not callable(found):
        raise ValueError(f"must name a class or a function, which {attribute} is not")
    return cast(Callable[..., object], found)


def make(maker: Callable[..., object], values: Mapping[str, Any]) -> object:
    """What `maker` makes of plain values.

    A list arrives as a tuple, since rules are values, unless the field is declared as a list.

    Raises:
      ValueError: the rest of a sentence that begins with the key: what must hold.
    """
    declared = {field.name: str(field.type) for field in fields(maker)} if is_dataclass(maker) else {}
    try:
        return maker(**{name: _as_declared(value, declared.get(name, "")) for name, value in values.items()})
    except Exception as error:
        raise ValueError(f"must be what the rule takes ({_said(error, TypeError, ValueError)})") from error


def as_rule(made: object) -> Rule:
    """`made`, when it is a rule.

    Raises:
      ValueError: the rest of a sentence that begins with the key: what must hold.
    """
    if isinstance(made, type) or not isinstance(made, Rule):
        raise ValueError(f"must make a rule, an object with start() and metrics(), but makes {made!r:.80}")
    try:
        names = made.metrics()
    except Exception as error:
        raise ValueError(f"must make a rule whose metrics() answers ({_said(error)})") from error
    if not isinstance(names, (set, frozenset)) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"must make a rule whose metrics() is a set of names, but it is {names!r:.80}")
    return made


def _look_up(module: object, attribute: str) -> Any:
    for part in attribute.split("."):
        module = getattr(module, part)
    return module


def _as_declared(value: Any, declared: str) -> Any:
    if not isinstance(value, (list, tuple)):
        return value
    items = [_as_declared(item, declared) for item in value]
    return items if re.search(r"\blist\b", declared, re.IGNORECASE) else tuple(items)


def _said(error: Exception, *plainly: type[Exception]) -> str:
    """The error in words that go into a sentence; errors of the kinds `plainly` speak for themselves."""
    text = " ".join(str(error).split()).split(". Received")[0].rstrip(".")
    return text if text and isinstance(error, plainly) else f"{type(error).__name__}: {text}"


# From rule to text.


def is_plain(value: object) -> bool:
    """Whether JSON holds `value` as it is; tuples count as lists."""
    if isinstance(value, (list, tuple)):
        return all(map(is_plain, value))
    if isinstance(value, (int, float)):
        try:
            return math.isfinite(value)
        except OverflowError:  # a whole number beyond the largest double
            return False
    return value is None or isinstance(value, str)


def write_own(rule: Rule) -> dict[str, Any]:
    """The text of a rule of one's own, which reads back to an equal rule; fields at their default are left out.

    Raises:
      RuleError: it has no text; says what to do.
    """
    name = name_of(rule)
    _check_class(rule, name)
    values = {}
    for field in fields(rule):  # type: ignore[arg-type]  # _check_class has seen that it is a dataclass
        value = getattr(rule, field.name, None)
        if not field.init or _is_default(field, value):
            continue
        if not is_plain(value):
            raise RuleError(
                f"The field {field.name} of {name} must be {PLAIN}, so that it has a text. Received: {value!r:.80}."
            )
        values[field.name] = _as_text(value, str(field.type))
    try:
        again = as_rule(make(type(rule), values))
    except ValueError as error:
        raise RuleError(
            f"The fields of {name} must be all that it is made of, so that it has a text: it {error}."
        ) from error
    if again != rule:
        raise RuleError(
            f"{name} must equal what its own fields make, so that it has a text. Received: {rule!r:.80}; "
            f"read back: {again!r:.80}."
        )
    return {"rule": name} | ({"with": values} if values else {})


def _check_class(rule: object, name: str) -> None:
    """A text can name classes, at the top of modules, and must know what makes an instance."""
    kind = type(rule)
    if isinstance(rule, type):
        raise RuleError(f"A rule must be an object, not a class: make one, {rule.__qualname__}(...).")
    if "<locals>" in kind.__qualname__:
        raise RuleError(
            f"{name} is defined inside a function, where no text can name it: move it to its module's top level."
        )
    if "__dataclass_fields__" not in vars(kind):
        raise RuleError(
            f"{name} must be a dataclass, so that the rule has a text: put @dataclasses.dataclass(frozen=True) on it."
        )
    try:
        found = _look_up(sys.modules[kind.__module__], kind.__qualname__)
    except (AttributeError, KeyError):
        found = None
    if found is not kind:
        raise RuleError(
            f"{name} must be where its name says, so that a text can name it: define it there, and only once."
        )


def _is_default(field: Field[Any], value: object) -> bool:
    if field.default is not MISSING:
        return bool(value == field.default)
    return field.default_factory is not MISSING and bool(value == field.default_factory())


def _as_text(value: Any, declared: str) -> Any:
    """Equal values give equal text: 1 and 1.0 where a float is declared, zero and minus zero, tuples and lists."""
    if isinstance(value, (list, tuple)):
        return [_as_text(item, declared) for item in value]
    whole = isinstance(value, int) and not isinstance(value, bool)
    if isinstance(value, float) or (whole and re.search(r"\bfloat\b", declared)):
        return float(value) + 0.0
    return value


# While it judges.


def watched(rule: Rule, future: Sequence[Record] | None) -> Judge:
    """A judge of `rule` whose mistakes are told with the rule's name.

    Raises:
      RuleError: it cannot start, or starts no judge.
    """
    name = name_of(rule)
    try:
        judge = rule.start(future)
    except Exception as error:
        raise RuleError(f"The rule {name} cannot start: {_said(error, RuleError)}.") from error
    if not all(callable(getattr(judge, method, None)) for method in ("judge", "learn")):
        raise RuleError(f"The rule {name} must start a judge, which has judge() and learn(). Received: {judge!r:.80}.")
    return _WatchedJudge(name, judge)


class _WatchedJudge:
    """Raises RuleError where the judge of one's own raises anything, or answers with no Judgement."""

    def __init__(self, name: str, judge: Judge) -> None:
        self._name = name
        self._judge = judge

    def judge(self, record: Record) -> Judgement:
        try:
            said = self._judge.judge(record)
        except Exception as error:
            raise self._failed("judge", record, error) from error
        if (
            not isinstance(said, Judgement)
            or said.truth not in get_args(Truth)
            or not isinstance(said.reason, str)
            or not isinstance(said.shortfall, (int, float))
        ):
            raise RuleError(
                f"The rule {self._name} must answer with a Judgement that holds, fails or is unknown, and a reason. "
                f"Received: {said!r:.120} at {_moment(record)}."
            )
        # What was left out is filled in: without these, summaries would not count it and take it for the closest miss.
        short = 0.0 if said.truth == "holds" else said.shortfall if said.shortfall > 0 else math.inf
        return Judgement(said.truth, said.reason, tuple(said.clauses) or (self._name,), short)

    def learn(self, record: Record, saved: bool) -> None:
        try:
            self._judge.learn(record, saved)
        except Exception as error:
            raise self._failed("learn", record, error) from error

    def _failed(self, what: str, record: Record, error: Exception) -> RuleError:
        said = _said(error, RuleError)
        return RuleError(f"The rule {self._name} failed to {what} {_moment(record)}: {said}.")


def _moment(record: Record) -> str:
    return f"step {record.step} of epoch {record.epoch + 1}"
