"""Backgrounds of field crops, in units of the noise: clouds, slopes, edges, bright structure."""

import math

import torch
from torch import Tensor

#: Smooth random fields from which clouds are cut, and their correlation lengths, px.
FIELDS = 16
FIELD_SIDE = 384
CORRELATION = (1.3, 8.0)
#: Places among which a clutter peak is looked for.
PLACES = 8


class Backgrounds:
    """Draws backgrounds of crops of one size, where the generator is."""

    def __init__(self, size: int, generator: torch.Generator) -> None:
        self.size, self.generator, self.device = size, generator, generator.device
        self.clouds = _smooth_fields(generator)
        axis = torch.arange(size, device=self.device).float() - size // 2
        self.x, self.y = axis[None, None, :], axis[None, :, None]

    def draw(self, batch: int, *, empty: Tensor, structure: float) -> Tensor:
        """(B, n, n) background over noise sigma.

        Args:
            empty: (B,) crops without a target; a share `structure` of them has a clutter peak, a
                bright blob or a bar where a target would be.
        """
        kind = self._uniform(batch)
        peaky = empty & (kind < 0.5 * structure)
        solid = (empty & ~peaky & (kind < structure)) | (~empty & (kind > 0.97))
        result = self._clouds(batch, peaky) + self._edges(batch) + self._slopes(batch)
        return result + self._solids(batch) * solid[:, None, None]

    def _clouds(self, batch: int, peaky: Tensor) -> Tensor:
        """Pieces of smooth fields; where `peaky`, centred near the brightest of several places."""
        reach = FIELD_SIDE - self.size
        which = self._integers(FIELDS, batch, 1)
        corner = self._integers(reach, batch, PLACES, 2)
        row, column = corner[..., 0], corner[..., 1]
        middle = self.size // 2
        height = self.clouds[which, row + middle, column + middle]
        for down, right in ((0, -3), (0, 3), (-3, 0), (3, 0)):
            around = self.clouds[which, row + middle + down, column + middle + right]
            height = height - 0.25 * around
        place = torch.where(peaky, height.argmax(1), 0)
        index = torch.arange(batch, device=self.device)
        row, column = row[index, place], column[index, place]
        steps = torch.arange(self.size, device=self.device)
        piece = self.clouds[
            which[..., None],
            (row[:, None] + steps)[:, :, None],
            (column[:, None] + steps)[:, None, :],
        ]
        usual = self._log_uniform(0.1, 12.0, batch) * (self._uniform(batch) < 0.65)
        strength = torch.where(peaky, self._log_uniform(1.0, 30.0, batch), usual)
        return piece * strength[:, None, None]

    def _edges(self, batch: int) -> Tensor:
        """Edges of clouds or of the horizon, from sharp to soft."""
        distance = self._across(batch) - 10 * (self._uniform(batch, 1, 1) - 0.5)
        width = self._log_uniform(0.1, 2.5, batch)[:, None, None]
        strength = self._log_uniform(1.0, 40.0, batch) * (self._uniform(batch) < 0.14)
        return 0.5 * strength[:, None, None] * torch.tanh(distance / width)

    def _slopes(self, batch: int) -> Tensor:
        return self._log_uniform(0.005, 1.5, batch)[:, None, None] * self._across(batch)

    def _solids(self, batch: int) -> Tensor:
        """Extended bright things: blobs wider than any PSF, long ones, flat ones, bars."""
        angle = 2 * math.pi * self._uniform(batch, 1, 1)
        shift = 3 * (2 * self._uniform(batch, 2, 1, 1) - 1)
        x, y = self.x - shift[:, 0], self.y - shift[:, 1]
        along, across = x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin()
        short = self._log_uniform(0.9, 3.0, batch)[:, None, None]
        ratio = self._log_uniform(1.0, 8.0, batch)[:, None, None]
        # Nothing here may look like one target or a few: it is long, or wide, or flat.
        length = (short * ratio).clamp_min(1.6)
        radius2 = (across / short).square() + (along / length).square()
        flat = self._uniform(batch, 1, 1) < 0.35
        shape = torch.where(flat, torch.sigmoid((1.5 - radius2.sqrt()) * 6), (-radius2 / 2).exp())
        return shape * self._log_uniform(4.0, 300.0, batch)[:, None, None]

    def _across(self, batch: int) -> Tensor:
        """(B, n, n) distance from a line through the centre at a random angle, px."""
        angle = 2 * math.pi * self._uniform(batch, 1, 1)
        return self.x * angle.cos() + self.y * angle.sin()

    def _uniform(self, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=self.generator, device=self.device)

    def _integers(self, end: int, *shape: int) -> Tensor:
        return torch.randint(end, shape, generator=self.generator, device=self.device)

    def _log_uniform(self, low: float, high: float, batch: int) -> Tensor:
        return low * (high / low) ** self._uniform(batch)


def _smooth_fields(generator: torch.Generator) -> Tensor:
    """(FIELDS, side, side) Gaussian random fields of unit variance, ever smoother."""
    along, down = (
        frequencies(FIELD_SIDE, device=generator.device)
        for frequencies in (torch.fft.rfftfreq, torch.fft.fftfreq)
    )
    frequency2 = along.square()[None] + down.square()[:, None]
    low, high = CORRELATION
    fields = []
    for length in torch.logspace(math.log10(low), math.log10(high), FIELDS).to(generator.device):
        white = torch.randn(FIELD_SIDE, FIELD_SIDE, generator=generator, device=generator.device)
        smooth = torch.exp(-2 * (math.pi * length) ** 2 * frequency2)
        field = torch.fft.irfft2(torch.fft.rfft2(white) * smooth, s=white.shape)
        fields.append((field - field.mean()) / field.std())
    return torch.stack(fields)
