"""Beam in a component: TFX is not packed for workers that there are not."""

from __future__ import annotations

import tempfile

from tfx.utils import dependency_utils

from gated_pipelines.beam_args import BEAM_ARGS


def test_no_package_of_tfx_is_made_for_workers_elsewhere(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert dependency_utils.make_beam_dependency_flags(list(BEAM_ARGS)) == list(BEAM_ARGS)
    assert list(tmp_path.iterdir()) == []
