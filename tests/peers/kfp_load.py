"""Loads a compiled pipeline with the kfp SDK that is installed beside it; prints its version and the inputs as JSON."""

from __future__ import annotations

import json
import sys

import kfp
from kfp import components

loaded = components.load_component_from_file(sys.argv[1])
inputs = {name: [given.type, given.default] for name, given in loaded.component_spec.inputs.items()}
print(json.dumps({"version": kfp.__version__, "inputs": inputs}))
