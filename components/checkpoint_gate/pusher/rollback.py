"""Going back to an earlier version of the push folder.

Servers take the largest version, and versions only grow: so the earlier one is published again under a new, larger
number. The weights that are left are withdrawn, so that no later run pushes them again.

    1. the copy is made under a temporary name and checked
    2. the log says what is withdrawn
    3. the copy becomes visible

Killed between 2 and 3, the champion is a withdrawn one; the same command again goes on from there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from checkpoint_gate.errors import ConfigError, ModelError, StoreError
from checkpoint_gate.pushed.papers import Papers, Push, Rollback, read_papers
from checkpoint_gate.pushed.push_folder import live_versions, next_version, version_path
from checkpoint_gate.pushed.push_log import Withdrawal, add_to_log, withdrawal_of, withdrawn_from
from checkpoint_gate.pusher.publish import config_error
from checkpoint_gate.pusher.republish import republish

NO_REASON = "no reason was given"

Check = Callable[[str], None]
Weights = Callable[[str], str | None]
"""The digest of a version's weights; None where it is not known. Raises ModelError where they cannot be read."""


@dataclass(frozen=True, slots=True)
class RollbackPlan:
    """What a rollback would do, or has done.

    Attributes:
        left: the champion that is left.
        restored: the version that is published again; None where only a withdrawal is taken back.
        version: the number under which it is published; the champion's where nothing is published.
        undone: the withdrawal that is taken back; None where the champion is withdrawn.
        weights: digest of the champion's weights.
    """

    folder: str
    left: int
    restored: int | None
    version: int
    weights: str
    undone: Withdrawal | None = None


def recorded_weights(model: str) -> str | None:
    """The digest that the papers of a pushed model tell; None where they tell none or cannot be read."""
    try:
        papers = read_papers(model)
    except ModelError:
        return None
    return papers.push.weights if papers is not None and papers.push is not None else None


def known_weights(model: str) -> str:
    """The digest that the papers tell, else that of the weights themselves, for which TensorFlow is loaded."""
    recorded = recorded_weights(model)
    if recorded is not None:
        return recorded
    from checkpoint_gate.models.weights import weights_digest

    return weights_digest(model)


def previous_version(folder: str, weights: Weights) -> int | None:
    """The newest live version before the champion to which one can go back: neither withdrawn nor of its weights.

    Where a version's weights are not known, it is taken for one; where they cannot be read, it is passed over. None
    where there is none, or no champion.
    """
    versions = live_versions(folder)
    if not versions:
        return None
    withdrawn = withdrawn_from(folder)
    current = _champions_weights(folder, versions[-1], weights)
    for version in reversed(versions[:-1]):
        with contextlib.suppress(ModelError):
            digest = weights(version_path(folder, version))
            if digest is None or (digest != current and withdrawal_of(digest, withdrawn) is None):
                return version
    return None


def _champions_weights(folder: str, champion: int, weights: Weights) -> str:
    """The digest of the champion's weights; where they are not known, a word that is the digest of none.

    From a champion that is damaged or out of reach, above all, one must be able to go back.
    """
    with contextlib.suppress(ModelError, StoreError):
        return weights(version_path(folder, champion)) or f"unknown-{champion}"
    return f"unknown-{champion}"


def plan_rollback(folder: str, to: int | None, now: int) -> RollbackPlan:
    """What going back would do.

    Args:
        folder: the push folder.
        to: the version to go back to; None for the newest one before the champion that has other weights and was not
            withdrawn.
        now: seconds since 1970, the new version unless a present one is as large.

    Raises:
        ConfigError: there is no such version, or it cannot be gone back to; says which there are.
    """
    versions = live_versions(folder)
    if not versions:
        raise ConfigError(f"There is nothing to go back from: the push folder {folder} holds no live version.")
    champion = versions[-1]
    restored = previous_version(folder, known_weights) if to is None else to
    if restored is None:
        raise ConfigError(
            f"There is no version to go back to from {champion}: {_others(versions[:-1])} in the push folder {folder}."
        )
    weights = _champions_weights(folder, champion, known_weights)
    if to is not None:
        _require_other(folder, versions, to, weights)
    return RollbackPlan(folder, champion, restored, next_version(folder, now), weights)


def _others(earlier: Sequence[int]) -> str:
    if not earlier:
        return "it is the only live one"
    return f"the earlier ones ({', '.join(map(str, earlier))}) have the same weights or were withdrawn"


def _require_other(folder: str, versions: Sequence[int], to: int, weights: str) -> None:
    if to not in versions:
        live = ", ".join(map(str, versions))
        raise ConfigError(f"The push folder {folder} has no live version {to}. It has: {live}.")
    if to == versions[-1]:
        raise ConfigError(f"Version {to} is the newest already: name an earlier one.")
    digest = known_weights(version_path(folder, to))
    if digest == weights:
        raise ConfigError(f"Version {to} has the same weights as the champion, {versions[-1]}: name another one.")
    withdrawal = withdrawal_of(digest, withdrawn_from(folder))
    if withdrawal is not None:
        raise ConfigError(f"Version {to} was {withdrawal}. Take that back first, or name another version.")


def roll_back(plan: RollbackPlan, reason: str, now: float, check: Check) -> str:
    """Carries a plan out, within `exclusive(plan.folder)`; answers with the new version's folder.

    Args:
        reason: one phrase; it stands in the papers, in the log, and in what later runs say of these weights.
        check: raises when the model in the given folder must not become visible.

    Raises:
        ConfigError: the folder cannot be written.
        ModelError: the earlier version cannot serve. Nothing has changed then.
    """
    assert plan.restored is not None

    def withdraw() -> None:
        add_to_log(
            plan.folder,
            "withdrawn",
            plan.left,
            weights=plan.weights,
            by=plan.version,
            reason=reason,
            time=now,
        )

    papers = Rollback(withdrew=plan.left, restored=plan.restored, reason=reason)
    return _publish_again(plan, papers, now, check, withdraw)


def plan_undo(folder: str, now: int) -> RollbackPlan:
    """What taking the newest withdrawal back would do.

    The withdrawn version is published again if it still stands and nothing was pushed since; else its weights are
    only allowed again, and the next run judges them.

    Raises:
        ConfigError: nothing is withdrawn, or no version is live.
    """
    withdrawn, versions = withdrawn_from(folder), live_versions(folder)
    if not withdrawn or not versions:
        raise ConfigError(f"There is no rollback to take back in the push folder {folder}.")
    newest, champion = withdrawn[-1], versions[-1]
    weights = _champions_weights(folder, champion, known_weights)
    if champion == newest.by and newest.version in versions:
        return RollbackPlan(folder, champion, newest.version, next_version(folder, now), weights, newest)
    return RollbackPlan(folder, champion, None, champion, weights, newest)


def undo_rollback(plan: RollbackPlan, reason: str, now: float, check: Check) -> str | None:
    """Carries a plan of `plan_undo` out, within `exclusive(plan.folder)`; the new version's folder, if there is one.

    Raises:
        ConfigError, ModelError: as `roll_back`.
    """
    assert plan.undone is not None
    path = None
    if plan.restored is not None:
        papers = Rollback(withdrew=None, restored=plan.restored, reason=reason)
        path = _publish_again(plan, papers, now, check, lambda: None)
    # Last: killed before this, the same command again finds another champion, and only does this.
    try:
        add_to_log(plan.folder, "allowed", plan.undone.version, weights=plan.undone.weights, time=now)
    except OSError as error:
        raise ConfigError(
            f"The withdrawal of version {plan.undone.version} could not be taken back ({error.strerror or error}): "
            f"make room in {plan.folder}, or give the right to write there, and do it again."
        ) from error
    return path


def _publish_again(plan: RollbackPlan, rollback: Rollback, now: float, check: Check, before: Callable[[], None]) -> str:
    """Publishes `plan.restored` as `plan.version`; `before` is called when it is checked and not yet visible."""
    source = version_path(plan.folder, plan.restored or 0)
    papers = _papers(source, plan, rollback, now)

    def ready(model: str) -> None:
        check(model)
        with config_error(plan.folder):
            before()

    return republish(source, plan.folder, plan.version, papers, ready)


def _papers(source: str, plan: RollbackPlan, rollback: Rollback, now: float) -> Papers | None:
    """The papers of the new version; None where the earlier one carries none that can be read: it stays as it is."""
    try:
        papers = read_papers(source)
    except ModelError:
        return None
    if papers is None:
        return None
    before = papers.push
    best = before.best if before is not None else None
    push = Push(
        version=plan.version,
        time=now,
        weights=known_weights(source),
        replaces=plan.left,
        blessing=before.blessing if before is not None else None,
        rollback=rollback,
        best=plan.version if best == plan.restored else best,  # its weights stand under this number now
    )
    return papers.model_copy(update={"push": push})
