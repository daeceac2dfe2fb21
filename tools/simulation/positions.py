"""Positions that were drawn beforehand, taken for a whole batch without waiting for the device."""

import torch
from torch import Tensor
from torch.nn import functional


class PositionTable:
    """Pools of positions of 1, 2, ... targets in one padded table.

    Args:
        pools: by number of targets k, (N_k, k, 2) each; the numbers are 1 to `len(pools)`.

    Attributes:
        pools: the same as parts of the table: what is changed in one is changed there.
    """

    def __init__(self, pools: dict[int, Tensor]) -> None:
        most, longest = len(pools), max(map(len, pools.values()))
        rows = [
            functional.pad(pools[k], (0, 0, 0, most - k, 0, longest - len(pools[k])))
            for k in range(1, most + 1)
        ]
        self.positions = torch.stack([torch.zeros_like(rows[0]), *rows])
        self.pools = {k: self.positions[k, : len(pools[k]), :k] for k in range(1, most + 1)}
        lengths = [1, *(len(pools[k]) for k in range(1, most + 1))]
        self.lengths = torch.tensor(lengths, device=self.positions.device)

    def take(self, count: Tensor, uniform: Tensor) -> Tensor:
        """(B, T, 2) positions, 0 where absent, each from the pool of its (B,) number of targets.

        Args:
            uniform: (B,) random numbers in [0, 1) that choose in the pools.
        """
        length = self.lengths[count]
        chosen = torch.minimum((uniform * length).long(), length - 1)
        return self.positions[count, chosen]
