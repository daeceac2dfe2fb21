"""JSON lines: the simulator's truth, and answers that `dscsnet listen` wrote."""

import numpy as np

from tests.fuzz.contract import attempt, scratch_file

PIXELS = np.zeros((20, 30), np.uint16)


def truth(data: bytes) -> None:
    """A truth file; each frame has a key and columns of one length."""
    from dscsnet.tools.demo.scene_truth import read_truth

    path = scratch_file("truth.jsonl", data)
    frames = attempt(lambda: read_truth(path))
    for frame in frames or []:
        assert len(frame.key.epoch) == 16
        table = frame.targets
        assert len({len(table.cluster), len(table.x), len(table.y), len(table.intensity)}) == 1


def answers(data: bytes) -> None:
    """Answers, and the picture drawn of them."""
    from dscsnet.tools.show.answers_picture import draw_answers, read_answers

    path = scratch_file("answers.jsonl", data)
    found = attempt(lambda: read_answers(path))
    for frame_id, answer in list((found or {}).items())[:2]:
        attempt(lambda: draw_answers([(frame_id, PIXELS, answer)]))  # noqa: B023 (called at once)
