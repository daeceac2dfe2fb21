"""Settings of the whole suite."""

import contextlib
import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="session")
def _one_torch_thread() -> None:
    """Small networks run faster on one thread than on several that wait for one another."""
    with contextlib.suppress(ModuleNotFoundError):
        import torch

        torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    """Commands send the log to a standard error that ends with the test."""
    package, root = logging.getLogger("dscsnet"), logging.getLogger()
    before = package.handlers[:], package.propagate, package.level
    known = set(root.handlers)
    yield
    package.handlers[:], package.propagate = before[0], before[1]
    package.setLevel(before[2])
    # pytest's own handlers come and go by themselves.
    root.handlers[:] = [
        each for each in root.handlers if each in known or type(each) is not logging.StreamHandler
    ]
