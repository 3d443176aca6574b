"""What prunings leave behind: the trash, the journals of those under way, and the tombstones.

    {"bytes": 14210, "by": "CheckpointFilter", "epoch": 6, "event": "trashed", "manifest": "sha256:…",
     "metrics": {"val_loss": 0.61}, "plan": "5d…", "reason": "val_loss 0.61 is not at most 0.5 (by 0.11)",
     "rules": "77…", "step": 49, "time": 1790000000.0}

Events of a tombstone: "trashed", then "pruned" once its bytes are gone, or "undeleted" when it was brought back;
"spared" says that a plan left the checkpoint alone although it named it. "lost", with an empty plan, says that others
had removed it, and that a repair found it so.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from checkpoint_gate.errors import StoreError
from checkpoint_gate.rules.records import dump_json
from checkpoint_gate.store import manifest as manifests
from checkpoint_gate.store.checkpoints import STEP_FOLDER, Stored, folder_name, half_removed, read_all
from checkpoint_gate.store.documents import JsonLines, read_object, write_large_object
from checkpoint_gate.store.elapsed import is_over, look

if TYPE_CHECKING:
    from checkpoint_gate.store.run import Run

PRUNED = ("trashed", "pruned")  # the events that tell of a pruning
GONE = (*PRUNED, "lost")  # after which a checkpoint is not live
TRASH_FOLDER = re.compile(rf"{STEP_FOLDER.pattern}--([0-9a-f]{{12}})")
SET_ASIDE = re.compile(rf"{STEP_FOLDER.pattern}(?:--[0-9a-f]{{12}})?(?:\.\d+)?")  # in the quarantine
JOURNAL_FILE = re.compile(r"[0-9a-f]{64}[.]json")
_JOURNAL_BYTES = 1 << 30  # a million and a half checkpoints of a dozen metrics
JOURNAL_ASIDE = ".journal.json"  # how the name of a damaged journal ends that was set aside
_BODY = ("run", "rules", "grace", "by", "going")
_NUMBER = (int, float)
_JOURNAL: Mapping[str, tuple[type, ...]] = {"rules": (str,), "by": (str,), "grace": _NUMBER, "token": (int,)}
_GOING: Mapping[str, tuple[type, ...]] = {"step": (int,), "bytes": (int,), "manifest": (str,)}
_LOOK: Mapping[str, tuple[type, ...]] = {"boot": (str,), "time": _NUMBER, "uptime": _NUMBER}

Mark = dict[str, Any]


def tombstones(run: Run) -> dict[tuple[str, int], Mark]:
    """(plan, step) -> the newest tombstone of it, with all that the first one said.

    Two keys are added: `times`, event -> when; `returns`, how often the checkpoint was spared or came back.

    Raises:
      StoreError: a line is no tombstone; names it.
    """
    seen = run.files.identity(_stones_path(run))
    if run.buried is None or run.buried.seen != seen:
        marks: dict[tuple[str, int], Mark] = {}
        for line in stones(run).read():
            _add(run, marks, line)
        if seen is None:
            return marks
        run.buried = Buried(seen, marks)
    return dict(run.buried.marks)


@dataclass(frozen=True)
class Buried:
    """The tombstones as this process read or wrote them: a retention at every save is not to read them all anew.

    Attributes:
      seen: how the file looked then.
      marks: see `tombstones`.
    """

    seen: tuple[object, ...]
    marks: dict[tuple[str, int], Mark]


def _add(run: Run, marks: dict[tuple[str, int], Mark], line: Mapping[str, Any]) -> None:
    plan, step, event, time = (line.get(key) for key in ("plan", "step", "event", "time"))
    if not (isinstance(plan, str) and type(step) is int and isinstance(event, str) and type(time) in (int, float)):
        place = run.files.place(_stones_path(run))
        raise StoreError(f"{place} is damaged: a tombstone needs plan, step, event and time. Received: {line}.")
    for key in ("epoch", "bytes"):
        if key in line and not is_count(line[key]):
            place = run.files.place(_stones_path(run))
            raise StoreError(
                f"{place} is damaged: {key} must be a whole number of at least 0. Received: {line[key]!r:.60}."
            )
    before = marks.get((plan, step), {})
    times = before.get("times", {}) | {event: time}
    returns = before.get("returns", 0) + (event in ("undeleted", "spared"))
    marks[plan, step] = before | dict(line) | {"times": times, "returns": returns}


def pruned_before(run: Run) -> list[Mark]:
    """The tombstones of checkpoints that a pruning took, newest tombstone of each step, by step."""
    live = set(run.files.names(f"{run.key}/checkpoints"))
    gone = sorted((m for m in tombstones(run).values() if m["event"] in PRUNED), key=lambda mark: mark["time"])
    by_step = {mark["step"]: mark for mark in gone}
    return [mark for step, mark in sorted(by_step.items()) if folder_name(step) not in live]


def trashed(run: Run) -> list[Stored]:
    """The checkpoints in the trash, by step."""
    return read_all(run.files, f"{run.key}/trash", names_in_trash(run), run.key)


def plan_of(run: Run, digest: str) -> str | None:
    """The plan of this run that `digest` names, by itself or as a part of a plan of several; None if none was begun."""
    for (plan, _), mark in tombstones(run).items():
        if digest in (plan, mark.get("joint")):
            return plan
    for plan in journals(run):
        if digest in (plan, read_journal(run, plan).get("joint")):
            return plan
    return None


def names_in_trash(run: Run) -> list[str]:
    """The folders in the trash, by step; where a listing may be late, those too that the plans under way name."""
    names = {name for name in run.files.names(f"{run.key}/trash") if TRASH_FOLDER.fullmatch(name)}
    if not run.files.atomic:
        for digest in journals(run):
            steps = (item["step"] for item in read_journal(run, digest)["going"])
            names.update(trash_path(run, digest, step).rpartition("/")[2] for step in steps)
    return sorted(names, key=trash_place)


def trash_place(name: str) -> tuple[int, str]:
    """Step and first digits of the plan's digest, from the name of a folder in the trash."""
    match = TRASH_FOLDER.fullmatch(name)
    assert match is not None
    return int(match[1]), match[2]


def marks_in_trash(run: Run) -> dict[str, Mark]:
    """Folder in the trash -> its tombstone, empty where there is none yet."""
    names = names_in_trash(run)
    if not run.files.atomic:
        names = [name for name in names if run.files.holds(f"{run.key}/trash/{name}", manifests.NAME)]
    marks = {(step, plan[:12]): mark for (plan, step), mark in tombstones(run).items()} if names else {}
    return {name: marks.get(trash_place(name), {}) for name in names}


def is_stranded(run: Run, name: str, mark: Mark) -> bool:
    """Whether no sweep comes to a checkpoint in the trash: it has no journal, or a tombstone of another thing."""
    if mark.get("event") == "undeleted":
        return False
    plans = {digest[:12] for digest in journals(run)}
    return mark.get("event") in ("pruned", "spared") or trash_place(name)[1] not in plans


def half_swept(run: Run, stored: Stored, mark: Mark) -> bool:
    """Whether a sweep was interrupted in this folder of the trash: nothing else may have taken files away there."""
    if mark.get("event") != "trashed" or not half_removed(run.files, stored):
        return False
    try:
        journal = read_journal(run, mark["plan"])
        protected = run.protected()
    except StoreError:
        return False
    return is_over(mark, journal, look(run.clock)) and stored.step not in protected


def revived(run: Run, marks: Mapping[tuple[str, int], Mark], live: Iterable[Stored]) -> list[Mark]:
    """The tombstones of what is live; one that is younger than its tombstone was saved again by a resumed training."""
    times = {stored.step: stored.manifest.time for stored in live if stored.manifest is not None}
    gone = (mark for mark in marks.values() if mark["event"] in GONE)
    return [mark for mark in gone if mark["step"] in times and times[mark["step"]] <= mark["time"]]


def trash_path(run: Run, digest: str, step: int) -> str:
    """Where the plan `digest` puts the checkpoint of `step`."""
    return f"{run.key}/trash/{folder_name(step)}--{digest[:12]}"


def bury(run: Run, event: str, digest: str, item: Mapping[str, Any]) -> None:
    """Adds a tombstone."""
    line = {"time": run.clock(), **item, "event": event, "plan": digest}
    known, run.buried = run.buried, None
    if known is not None and known.seen != run.files.identity(_stones_path(run)):
        known = None
    stones(run).append(line)
    seen = run.files.identity(_stones_path(run))
    if known is not None and seen is not None:
        _add(run, known.marks, line)
        run.buried = Buried(seen, known.marks)


def stones(run: Run) -> JsonLines:
    """The file of the tombstones."""
    return JsonLines(run.files, _stones_path(run))


def _stones_path(run: Run) -> str:
    return f"{run.key}/tombstones.jsonl"


def body_digest(body: Mapping[str, Any]) -> str:
    """The name of a plan: sha256 of what it says."""
    return hashlib.sha256(dump_json(body).encode()).hexdigest()


def journals(run: Run) -> list[str]:
    """The digests of the plans under way."""
    names = run.files.names(f"{run.key}/journal")
    found = {name.removesuffix(".json") for name in names if JOURNAL_FILE.fullmatch(name)}
    if not run.files.atomic:  # a late listing leaves out, or still shows; the tombstones and a look at each are sure
        found.update(plan for (plan, _), mark in tombstones(run).items() if mark["event"] == "trashed")
        found = {digest for digest in found if run.files.is_file(journal_path(run, digest))}
    return sorted(found)


def journal_path(run: Run, digest: str) -> str:
    """Where the journal of the plan `digest` is."""
    return f"{run.key}/journal/{digest}.json"


def set_journal_aside(run: Run, digest: str) -> None:
    """Moves a damaged journal to the quarantine; its bytes are evidence and stay."""
    path = journal_path(run, digest)
    run.files.make_folder(f"{run.key}/quarantine")
    run.files.replace(f"{run.key}/quarantine/{digest}{JOURNAL_ASIDE}", run.files.read(path, _JOURNAL_BYTES))
    run.files.remove_file(path)


def write_journal(run: Run, digest: str, body: Mapping[str, Any], token: int, joint: str | None = None) -> None:
    """Marks a plan as under way; `token` is that of the lease under which it is carried out.

    Args:
      joint: the digest of the plan of several runs that it is a part of.
    """
    run.files.make_folder(f"{run.key}/journal")
    whole = {} if joint in (None, digest) else {"joint": joint}
    fields = {"plan": digest, "created": run.clock(), "token": token, **whole, **body}
    write_large_object(run.files, journal_path(run, digest), _JOURNAL_BYTES, fields)


def note_look(run: Run, digest: str, journal: Mapping[str, Any], seen: Mapping[str, Any]) -> None:
    """Remembers in a journal what the clocks said at a sweep."""
    fields = {key: value for key, value in journal.items() if key != "format"}
    fields["looks"] = [*journal.get("looks", []), dict(seen)]
    write_large_object(run.files, journal_path(run, digest), _JOURNAL_BYTES, fields)


def read_journal(run: Run, digest: str) -> dict[str, Any]:
    """The plan under way of this digest.

    Raises:
      StoreError: damaged: what it says is not what its name says.
    """
    path = journal_path(run, digest)
    value = read_object(run.files, path, _JOURNAL_BYTES)
    if body_digest({key: value.get(key) for key in _BODY}) != digest:
        raise StoreError(f"{run.files.place(path)} is damaged: it does not hold the plan that its name says.")
    if value["run"] != run.key or not _is_plan(value):
        raise StoreError(f"{run.files.place(path)} is damaged: it holds no plan of {run.key}.")
    return value


def _is_plan(value: Mapping[str, Any]) -> bool:
    """Whether a journal has the shape of one: it may have been written by others."""
    going, looks = value["going"], value.get("looks", [])
    return (
        _has(value, _JOURNAL)
        and isinstance(value.get("joint", ""), str)
        and isinstance(going, list)
        and all(
            isinstance(item, dict) and _has(item, _GOING) and all(map(is_count, (item["step"], item["bytes"])))
            for item in going
        )
        and isinstance(looks, list)
        and all(isinstance(seen, dict) and _has(seen, _LOOK) for seen in looks)
    )


def is_count(value: object) -> bool:
    """Whether this is a whole number as there are epochs or bytes: of 63 bits at most."""
    return type(value) is int and 0 <= value < 1 << 63


def _has(value: Mapping[str, Any], kinds: Mapping[str, tuple[type, ...]]) -> bool:
    return all(type(value.get(key)) in kind for key, kind in kinds.items())
