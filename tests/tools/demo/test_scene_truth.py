"""The truth file as the simulator writes it, read back."""

from pathlib import Path

import pytest

from dscsnet.detector_stub.scene import Scene
from dscsnet.detector_stub.scene_config import CloudSettings, SceneConfig
from dscsnet.detector_stub.simulator import truth_line
from dscsnet.engines.errors import DscsnetError
from dscsnet.pipeline.messages import FrameKey, new_epoch
from dscsnet.tools.demo.scene_truth import read_truth


def test_lines_of_the_simulator_are_read_back(tmp_path: Path) -> None:
    clouds = CloudSettings(texture_size=64)
    scene = Scene(SceneConfig(width=120, height=100, seed=4, clouds=clouds))
    truths = [scene.truth(frame_id) for frame_id in (7, 8)]
    keys = [FrameKey("cam0", new_epoch(), truth.frame_id) for truth in truths]
    lines = [truth_line(key, 5, truth) for key, truth in zip(keys, truths, strict=True)]
    path = tmp_path / "truth.jsonl"
    path.write_bytes(b"".join(lines))
    frames = read_truth(path)
    assert [frame.key for frame in frames] == keys
    for frame, truth in zip(frames, truths, strict=True):
        assert frame.targets.x == truth.x.tolist()
        assert frame.targets.y == truth.y.tolist()
        assert frame.targets.intensity == truth.intensity.tolist()
        assert frame.targets.cluster == truth.cluster.tolist()


def test_what_is_no_truth_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    empty = (
        f'{{"stream":"a","epoch":"{"0" * 32}","frame_id":1,"targets":{{"cluster":[],"x":[],"y":[],'
    )
    path.write_text(f'{empty}"intensity":[]}}}}\n{{"stream": 3}}\n')
    with pytest.raises(DscsnetError, match=r"truth\.jsonl:2: "):
        read_truth(path)
    for line in (empty + '"intensity":[1]}}', empty.replace("0" * 32, "g0"), "[" * 9000, "\xff"):
        path.write_bytes(line.encode("latin1"))
        with pytest.raises(DscsnetError, match=r"truth\.jsonl:1: not a line of truth"):
            read_truth(path)
    with pytest.raises(DscsnetError, match="cannot be read"):
        read_truth(tmp_path / "nothing")
