"""What the tasks of small_pipeline run: it does as it is told, and writes what it was given into its outputs.

python small_executor.py EXECUTOR_INPUT [say TEXT | fail TEXT | fail-once TEXT | hang | child | elsewhere URI |
                              null] …
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

given = json.loads(sys.argv[1])
outputs = given["outputs"]["artifacts"]
words = sys.argv[2:]


def folder_of(output: dict) -> Path:
    scheme, separator, rest = output["artifacts"][0]["uri"].rpartition("://")
    return Path(os.environ["GATED_PIPELINE_MIRROR"], scheme, rest) if separator else Path(rest)


moved = ""
metadata: dict[str, object] = {"made_by": "small", "steps": 3, "good": True, "parts": ["a"]}
while words:
    word = words.pop(0)
    if word == "say":
        print(words.pop(0), flush=True)
    elif word == "fail":
        text = words.pop(0)
        raise ValueError(text)
    elif word == "fail-once":
        text = words.pop(0)
        mark = Path(os.environ["MARK"])
        if not mark.exists():
            mark.write_text("failed")
            for one in outputs.values():
                folder_of(one).mkdir(parents=True, exist_ok=True)
            raise ValueError(text)
    elif word in ("hang", "child"):
        if word == "child":
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
            Path(os.environ["MARK"]).write_text(str(child.pid))
        else:
            print("hanging", flush=True)
            time.sleep(600)
    elif word == "elsewhere":
        moved = words.pop(0)
    elif word == "null":
        metadata["nothing"] = None

said = {}
for key, one in outputs.items():
    if key == "executor-logs":
        continue
    folder = folder_of(one)
    found = sorted(path.name for path in folder.iterdir()) if folder.exists() else None
    folder.mkdir(parents=True, exist_ok=True)
    about = {"given": given, "cwd": os.getcwd(), "before": found, "env": dict(os.environ), "argv": sys.argv[2:]}
    (folder / "about.json").write_text(json.dumps(about))
    said[key] = {"artifacts": [{"uri": moved, "metadata": metadata}]}
Path(given["outputs"]["outputFile"]).write_text(json.dumps({"artifacts": said}))
