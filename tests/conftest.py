"""Settings of the whole suite."""

import contextlib

import pytest


@pytest.fixture(autouse=True, scope="session")
def _one_torch_thread() -> None:
    """Small networks run faster on one thread than on several that wait for one another."""
    with contextlib.suppress(ModuleNotFoundError):
        import torch

        torch.set_num_threads(1)
