"""Every error this package raises on purpose.

* CheckpointGateError      one clear sentence; the command lines print it and exit with 1
  + RuleError              the rules themselves are wrong; raised when they are read
  + UnknownMetricError     a rule names a metric that was never logged
  + MetricValueError       a metric is not a single number
  + RecordOrderError       a record does not come after the one before it
  + ConfigError            a pipeline.yaml, its data or its push folder is wrong
  + DataAnomalies          the data are not as their schema, or the span before, says
  + StoreError             the store cannot do what was asked
    - DamagedCheckpoint    a checksum or manifest does not hold
      · ForeignCheckpoint  of another run or of another format, or a link; it is left alone
    - NewerFormat          a file is of a format that this version does not read
    - NoRoom               what was to be written does not fit on the disk, or into a quota
    - LeaseHeld            another writer is at work
    - PruneRefused         nothing was deleted, for the reason given
    - RunMissing           the store holds no such run
  + NoSurvivors            the filter left nothing to evaluate
  + EvaluationError        the survivors cannot be evaluated on the examples
  + AverageRefused         the survivors' weights cannot be averaged
  + NoCandidate            no survivor can be chosen: each fails a threshold, or its metric is missing or not finite
  + ModelError             a SavedModel does not load, or does not predict
  + ServerError            a server that runs pipelines is absent, too old, or refuses
    - ServerUnreachable    it gave no answer, or none in time; asking again may help
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence


class CheckpointGateError(Exception):
    """Base of every error raised on purpose; its text is one sentence for a person."""


def sentence(error: CheckpointGateError | OSError) -> str:
    """What went wrong, for a person; of an error of the operating system the place and its words."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror is not None:
        return f"{os.fsdecode(error.filename)}: {error.strerror}."
    return str(error)


class RuleError(CheckpointGateError, ValueError):
    """The rules are wrong: names the line, the key, what must hold and what was received."""


class UnknownMetricError(CheckpointGateError):
    """A rule names a metric that no record has; lists what was logged."""


class MetricValueError(CheckpointGateError, TypeError):
    """A metric is not a single number."""


class RecordOrderError(CheckpointGateError, ValueError):
    """A record's step does not come after that of the record before it."""


class ConfigError(CheckpointGateError, ValueError):
    """A pipeline.yaml, the data it names, or its push folder is wrong."""


class DataAnomalies(CheckpointGateError):
    """The data are not as they should be; names the columns, each with a reason.

    Attributes:
      anomalies: all of them, `{feature, where, short, long}`; empty after it was sent from one process to another.
    """

    def __init__(self, sentence: str, anomalies: Sequence[Mapping[str, str]] = ()) -> None:
        super().__init__(sentence)
        self.anomalies = tuple(dict(each) for each in anomalies)


class StoreError(CheckpointGateError):
    """The store cannot do what was asked."""


class DamagedCheckpoint(StoreError):
    """A checkpoint's manifest or checksum does not hold."""


class ForeignCheckpoint(DamagedCheckpoint):
    """A checkpoint of another run or of another format, or a link: not this program's to move."""


class NewerFormat(StoreError):
    """A file of the store is of a format that this version does not read."""


class NoRoom(StoreError):
    """There is no room for what was to be written: the disk is full, or a quota is used up."""


class LeaseHeld(StoreError):
    """Another writer holds the run's lease."""


class PruneRefused(StoreError):
    """Pruning was refused and deleted nothing."""


class RunMissing(StoreError):
    """The store holds no such run."""


class NoSurvivors(CheckpointGateError):
    """The filter kept no checkpoint; names the closest misses and by how much."""


class EvaluationError(CheckpointGateError):
    """The survivors cannot be evaluated: there are no examples, or they do not fit, or the eval_config does not."""


class AverageRefused(CheckpointGateError):
    """The survivors' weights cannot be averaged; its text is the reason."""


class NoCandidate(CheckpointGateError):
    """No survivor can be chosen; names the reason for each, the closest misses first."""


class NotBlessed(CheckpointGateError):
    """The challenger was refused, and the champion stays; names the threshold that it missed."""


class ModelError(CheckpointGateError):
    """A SavedModel does not load, or does not predict."""


class ServerError(CheckpointGateError):
    """A server that runs pipelines refuses, or is not one; says which server, and what to do."""


class ServerUnreachable(ServerError):
    """A server that runs pipelines gave no answer, or none in time; asking again may help."""
