"""What a network costs: parameters, and multiply-accumulates for one crop."""

import torch
from torch.utils.flop_counter import FlopCounterMode

from dscsnet.engines.networks.base import GridNetwork


def parameters(network: GridNetwork) -> int:
    """Learned numbers; the fixed linear start and the imaging operator are not among them."""
    return sum(parameter.numel() for parameter in network.parameters())


def multiply_accumulates(network: GridNetwork) -> int:
    """Of one crop: convolutions and all products of matrices, not what is done cell by cell."""
    size = network.config.crop_size
    crop = next(network.parameters()).new_zeros(1, size, size)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(crop)
    return int(counter.get_total_flops()) // 2
