"""The pipeline's commands on a machine whose clock jumps, as a module to be run."""

import time

from dscsnet.pipeline.cli import main

JUMP_NS = 3_600_000_000_000
_true_ns = time.time_ns


def _time_ns() -> int:
    """An hour too late or too early, in turns of a second."""
    now = _true_ns()
    return now + JUMP_NS * (-1) ** (now // 1_000_000_000)


if __name__ == "__main__":
    time.time_ns = _time_ns
    time.time = lambda: _time_ns() / 1e9
    main()
