"""Reads as much of a Dockerfile as kubeflow/Dockerfile uses, and refuses the rest."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from string import Template

_INSTRUCTIONS = ("ARG", "COPY", "ENTRYPOINT", "ENV", "FROM", "LABEL", "RUN", "USER", "WORKDIR")


@dataclass(frozen=True)
class Instruction:
    """One instruction, its lines joined: `RUN` and what follows, variables as they are written."""

    name: str
    rest: str


@dataclass(frozen=True)
class Stage:
    """What lies between one FROM and the next.

    Attributes:
      name: what stands after AS.
      base: an image, or the name of a stage before; variables filled in.
    """

    name: str
    base: str
    instructions: list[Instruction] = field(default_factory=list)


def read_dockerfile(text: str) -> dict[str, Stage]:
    """Stages by name, in order.

    Raises:
      ValueError: an instruction, or a form of one, that is not known here.
    """
    arguments: dict[str, str] = {}
    stages: dict[str, Stage] = {}
    for instruction in _instructions(text):
        if instruction.name == "FROM":
            words = re.fullmatch(r"(\S+)\s+AS\s+(\S+)", instruction.rest)
            if words is None:
                raise ValueError(f"FROM must be FROM IMAGE AS NAME. Received: {instruction.rest}")
            stages[words[2]] = Stage(words[2], expand(words[1], arguments))
        elif stages:
            stages[next(reversed(stages))].instructions.append(instruction)
        elif instruction.name == "ARG":
            arguments |= assignment(instruction.rest, arguments)
        else:
            raise ValueError(f"Before the first FROM only ARG may stand. Received: {instruction.name}")
    return stages


def needed(stages: Mapping[str, Stage], target: str) -> list[Stage]:
    """The stages that `target` is built from, itself last."""
    stage = stages[target]
    sources = [copied for each in stage.instructions if (copied := copied_from(each)) is not None]
    before = [each for name in (stage.base, *sources) if name in stages for each in needed(stages, name)]
    return list({each.name: each for each in (*before, stage)}.values())


def copied_from(instruction: Instruction) -> str | None:
    """The stage that a COPY takes from; None for all else."""
    found = re.match(r"--from=(\S+)\s", instruction.rest) if instruction.name == "COPY" else None
    return found[1] if found else None


def assignment(rest: str, variables: Mapping[str, str]) -> dict[str, str]:
    """NAME -> value of `NAME=VALUE …`, without blanks or quotes in the values."""
    pairs = rest.split()
    if not all(re.fullmatch(r"[A-Za-z_]\w*=[^\s\"']*", pair) for pair in pairs):
        raise ValueError(f"Variables must be NAME=VALUE, without blanks and quotes. Received: {rest}")
    return {name: expand(value, variables) for name, _, value in (pair.partition("=") for pair in pairs)}


def expand(text: str, variables: Mapping[str, str]) -> str:
    """`text`, its ${NAME} and $NAME filled in.

    Raises:
      ValueError: a variable that has no value.
    """
    try:
        return Template(text).substitute(variables)
    except KeyError as error:
        raise ValueError(f"{error} has no value in: {text}") from None


def _instructions(text: str) -> list[Instruction]:
    kept = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    read = []
    for line in re.sub(r"\s*\\\s*\n\s*", " ", kept).splitlines():
        name, _, rest = line.strip().partition(" ")
        if not name:
            continue
        if name not in _INSTRUCTIONS or "<<" in rest or (name == "RUN" and rest.lstrip().startswith(("[", "--"))):
            raise ValueError(f"This is not understood here: {line}")
        read.append(Instruction(name, rest.strip()))
    return read
