"""Folders of output artifacts.

TFX names them by the number of the execution. A try that was killed may have left a part of an output there; and when
ML Metadata's database was lost, or put back to an older copy, numbers come that earlier executions had.
"""

from __future__ import annotations

import os
import shutil

from checkpoint_gate.uri_files import is_local


def make_room(uri: str) -> None:
    """Empties the folder of an output before it is written: nothing of an earlier one may be taken for a part of it.

    What is behind a URL stays; components are given folders on a disk, by other orchestrators too.
    """
    if not is_local(uri) or not os.path.isdir(uri):
        return
    for entry in list(os.scandir(uri)):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        else:
            os.unlink(entry.path)
