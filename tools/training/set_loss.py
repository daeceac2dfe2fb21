"""Likelihood of the true targets under a distribution whose slots are in no order.

A crop's targets may be assigned to the slots in any way, so their likelihood is a sum over all
assignments of targets, and of "no target", to slots.
"""

import itertools

import torch
from torch import Tensor
from torch.nn import functional

from dscsnet.engines.networks.offgrid.head import Distribution

#: Beyond this many sigmas, squared, an error's cost grows linearly: gradients stay bounded.
HUBER = 25.0


def assignments(slots: int, device: torch.device) -> Tensor:
    """(slots!, slots * slots): each permutation as a flattened 0/1 matrix of slot by target."""
    orders = list(itertools.permutations(range(slots)))
    matrices = torch.zeros(len(orders), slots, slots)
    for matrix, order in zip(matrices, orders, strict=True):
        matrix[list(order), range(slots)] = 1
    return matrices.flatten(1).to(device)


def position_intensity_cost(
    distribution: Distribution, x: Tensor, y: Tensor, log_intensity: Tensor
) -> Tensor:
    """-ln of the Gaussian density of each target under each slot, (B, slots, targets)."""
    truth = torch.stack([x, y, log_intensity], -1)[:, None]
    mean = torch.cat([distribution.position, distribution.log_intensity[..., None]], -1)
    error = (truth - mean[:, :, None]) * torch.exp(-distribution.log_sigma)[:, :, None]
    squared = error.square().sum(-1)
    linear = 2 * HUBER**0.5 * squared.clamp_min(1e-6).sqrt() - HUBER
    robust = torch.where(squared < HUBER, squared, linear)
    return 0.5 * robust + distribution.log_sigma.sum(-1)[:, :, None]


def set_loss(
    distribution: Distribution,
    x: Tensor,
    y: Tensor,
    log_intensity: Tensor,
    present: Tensor,
    matrices: Tensor,
) -> Tensor:
    """Mean over crops of -ln p(count) - ln p(targets), up to a constant.

    The gradient of -ln of a sum over assignments is that of the costs weighted by the posterior
    probability of each assignment (the EM identity), which needs no gradient through the sum.

    Args:
        x, y, log_intensity, present: (B, T) true targets, those present first; T may differ from
            the slots: crops with more targets than slots teach the count alone.
        matrices: `assignments` of the slots.
    """
    slots = distribution.existence.shape[1]
    count = present.sum(1)
    surplus = count > slots
    count_loss = functional.cross_entropy(distribution.count, count.clamp_max(slots + 1))
    fill = (0, slots - present.shape[1])  # below 0 it cuts
    x, y, log_intensity = (functional.pad(v, fill) for v in (x, y, log_intensity))
    there = functional.pad(present, fill)[:, None]
    cost = position_intensity_cost(distribution, x, y, log_intensity)
    log_exists = functional.logsigmoid(distribution.existence)[:, :, None]
    log_absent = functional.logsigmoid(-distribution.existence)[:, :, None]
    pairs = torch.where(there, cost - log_exists, -log_absent).flatten(1)
    with torch.no_grad():
        total = pairs @ matrices.T
        weights = torch.softmax(-total, 1)
        responsibility = weights @ matrices
        # So that the value, too, is that of the likelihood.
        entropy = (weights * torch.log(weights.clamp_min(1e-20))).sum(1)
    loss = (responsibility * pairs).sum(1) + entropy
    return torch.where(surplus, 0.0, loss).mean() + count_loss
