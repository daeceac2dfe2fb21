"""What a network costs: parameters, and multiply-accumulates for one crop."""

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from dscsnet.engines.networks.base import GridNetwork


def parameters(network: GridNetwork) -> int:
    """Learned numbers; the fixed linear start and the imaging operator are not among them."""
    return sum(parameter.numel() for parameter in network.parameters())


def multiply_accumulates(network: nn.Module, *inputs: Tensor) -> int:
    """Convolutions and all products of matrices, not what is done cell by cell.

    Args:
        inputs: what the network is given for one crop.
    """
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(*inputs)
    return int(counter.get_total_flops()) // 2
