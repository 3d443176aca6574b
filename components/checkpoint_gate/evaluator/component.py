"""TFX's Evaluator component with our executor."""

from __future__ import annotations

from typing import Any

from tfx.components.evaluator import component as tfx_component
from tfx.dsl.components.base import executor_spec

from checkpoint_gate.errors import ConfigError
from checkpoint_gate.evaluator import executor
from checkpoint_gate.evaluator.eval_config import read_config, thresholds
from checkpoint_gate.evaluator.verdict import AGAINST, FIRST_RUN, Against, FirstRun


class Evaluator(tfx_component.Evaluator):
    """TFX's Evaluator; it also understands models that are marked empty, and says why it blessed or did not.

    Inputs and outputs are TFX's, and so are the arguments beside the three below. The class keeps its name because the
    component's id derives from it. Beside TFX's BLESSED or NOT_BLESSED, `blessing` holds a `verdict.json`; see
    `read_verdict`.

    A champion that cannot be compared with is never passed over in silence: when it is damaged, has another signature,
    or knows other classes of the label, the candidate is not blessed, and the verdict says why.
    """

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(
        self,
        *args: Any,
        first_run: FirstRun = "refuse",
        rebaseline: bool = False,
        against: Against = "last",
        **kwargs: Any,
    ) -> None:
        """Wires the component.

        Args:
            *args, **kwargs: TFX's.
            first_run: what happens while there is no champion. "refuse" blesses nothing; with
                "bless_on_value_thresholds" the value thresholds decide alone, for change thresholds have nothing to
                compare with.
            rebaseline: sets the champion aside, so that the value thresholds decide alone in this run; for a champion
                that cannot, or must not, be compared with any more.
            against: whether change thresholds hold a candidate against the "last" champion, or against the "best" one
                so far as well, so that small losses that are tolerated one by one do not add up. Both are evaluated on
                the same examples.

        Raises:
            ConfigError: `first_run` or `against` is neither of its two, or `first_run` needs a value threshold and
                there is none.
        """
        super().__init__(*args, **kwargs)
        if first_run not in FIRST_RUN:
            raise ConfigError(f"first_run must be {' or '.join(FIRST_RUN)}. Received: {first_run!r}.")
        if against not in AGAINST:
            raise ConfigError(f"against must be {' or '.join(AGAINST)}. Received: {against!r}.")
        judging = thresholds(read_config(self.exec_properties), has_baseline=False)
        if first_run != "refuse" and not judging:
            raise ConfigError(
                f"first_run may be {first_run} only when eval_config gives a metric a value_threshold: change "
                "thresholds have nothing to compare with while there is no champion, and would let anything through."
            )
        # TFX's constructor makes the spec itself; what is added here is compiled, cached and handed to the executor
        # like the rest.
        self.spec.exec_properties.update(first_run=first_run, rebaseline=int(rebaseline), against=against)
