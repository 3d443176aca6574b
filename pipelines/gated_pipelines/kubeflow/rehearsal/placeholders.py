"""The placeholders in a container's command and arguments, filled as Kubeflow's driver and launcher fill them.

`{{$}}` is the whole ExecutorInput as JSON; `{{$.inputs.parameters['x']}}`, `{{$.inputs.artifacts['x'].uri}}` and
`….path}}`, the same of `outputs`, and `{{$.outputs.parameters['x'].output_file}}` are single values of it. What is not
known stays as it is, as with the launcher.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from gated_pipelines.kubeflow.rehearsal.wire import as_text, local_path, to_json

_WHOLE = "{{$}}"
_SINGLE = re.compile(r"\{\{\$\.(?:inputs|outputs)\.[^{}]*\}\}")


def fill(words: Iterable[str], given: Mapping[str, Any], mirror: str = "/") -> list[str]:
    """Command or arguments with every placeholder replaced; nothing is split, joined or seen by a shell.

    The whole text goes in first, so that placeholders inside constant parameters are filled too.

    Args:
      given: the ExecutorInput.
      mirror: the folder that /gcs, /minio and /s3 of the pod are in.
    """
    values = _values(given, mirror)
    text = to_json(given)
    return [
        _SINGLE.sub(lambda found: values.get(found.group(), found.group()), word.replace(_WHOLE, text))
        for word in words
    ]


def _values(given: Mapping[str, Any], mirror: str) -> dict[str, str]:
    found = {}
    for name, value in given["inputs"]["parameterValues"].items():
        found[f"{{{{$.inputs.parameters['{name}']}}}}"] = as_text(value)
    for side in ("inputs", "outputs"):
        for key, held in given[side]["artifacts"].items():
            uri = held["artifacts"][0]["uri"]
            found[f"{{{{$.{side}.artifacts['{key}'].uri}}}}"] = uri
            found[f"{{{{$.{side}.artifacts['{key}'].path}}}}"] = local_path(uri, mirror)
    for name, value in given["outputs"].get("parameters", {}).items():
        found[f"{{{{$.outputs.parameters['{name}'].output_file}}}}"] = value["outputFile"]
    return found
