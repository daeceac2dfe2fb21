"""The first item of a kind in a queue that is searched again and again."""

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Cursor(Generic[Item]):
    """Finds the first item of a kind without looking twice at one that is not.

    Args:
        items: changed by insertion and at its left end only; both are told.
        belongs: whether an item is of the kind; one that is not never will be.
    """

    def __init__(self, items: deque[Item], belongs: Callable[[Item], bool]) -> None:
        self._items, self._belongs = items, belongs
        self._place = 0

    def first(self) -> Item | None:
        """The first of the kind."""
        while self._place < len(self._items):
            if self._belongs(item := self._items[self._place]):
                return item
            self._place += 1
        return None

    def inserted(self, place: int) -> None:
        """An item came in at this place."""
        self._place = min(self._place, place)

    def popped(self) -> None:
        """The first item was taken out."""
        self._place = max(0, self._place - 1)
