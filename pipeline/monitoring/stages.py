"""Durations by stage, handed from the thread that measures to whoever observes."""

from collections.abc import Callable

Observer = Callable[[str, float], None]


class StageTimes:
    """Forwards each measured duration and batch size to observers, such as histograms."""

    def __init__(self) -> None:
        self._observers: list[Observer] = []

    def subscribe(self, observer: Observer) -> None:
        """Call `observer(stage, seconds)` for every duration; `(name, number)` for sizes."""
        self._observers.append(observer)

    def add(self, stage: str, nanoseconds: int) -> None:
        """One duration."""
        for observer in self._observers:
            observer(stage, nanoseconds * 1e-9)

    def add_batch(self, crops: int, frames: int) -> None:
        """Size of one run of the engine."""
        for observer in self._observers:
            observer("batch_crops", crops)
            observer("batch_frames", frames)
