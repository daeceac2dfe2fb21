"""A calibration as a table, as JSON, and as a configuration of the node."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from dscsnet.engines.errors import DscsnetError
from dscsnet.tools.calibration.noise import Noise
from dscsnet.tools.calibration.result import Calibration, Psf


def print_report(console: Console, result: Calibration) -> None:
    """Print what the recording tells, how sure that is, and what was left out."""
    console.print(f"{result.recording}: {result.frames} frames read", soft_wrap=True)
    table = Table("", "value", "1-sigma", "", box=None, title_justify="left")
    rows = [*_psf_rows(result.psf), *_sampled_rows(result), *_noise_rows(result.noise)]
    for row in rows:
        table.add_row(*row)
    if rows:
        console.print(table)
    console.print(_spots_line(result), soft_wrap=True)
    for doubt in result.warnings:
        console.print(f"doubt: {doubt}", soft_wrap=True)


def _psf_rows(psf: Psf | None) -> list[tuple[str, str, str, str]]:
    if psf is None:
        return []
    rows = [
        (f"PSF sigma_{axis}, px", f"{sigma:.4f}", f"{error:.4f}", "")
        for axis, sigma, error in zip("xy", psf.sigma, psf.sigma_error, strict=True)
    ]
    axes, errors = psf.axes, psf.axes_error
    if psf.elliptical:
        rows += [
            ("long axis, px", f"{axes.long:.4f}", f"{errors.long:.4f}", ""),
            ("short axis, px", f"{axes.short:.4f}", f"{errors.short:.4f}", ""),
            (
                "angle of the long axis, °",
                f"{axes.angle:.1f}",
                f"{errors.angle:.1f}",
                "from x to y",
            ),
        ]
    else:
        rows.append(("angle", "none", "", "round within the errors"))
    return rows


def _sampled_rows(result: Calibration) -> list[tuple[str, str, str, str]]:
    """Whether the PSF is a Gaussian."""
    if result.psf is None:
        return []
    error = f"{100 * result.psf.rms_misfit:.2g} %"
    if result.sampled is None:
        return [("form", "Gaussian", error, "of the light")]
    side, step = len(result.sampled.psf.samples), result.sampled.psf.oversampling
    return [("form", "sampled", error, f"of the light; no Gaussian: {side}x{side} at 1/{step} px")]


def _noise_rows(noise: Noise | None) -> list[tuple[str, str, str, str]]:
    if noise is None:
        return []
    seen = "in time alone" if noise.method == "in time" else "with fixed pattern and texture"
    at = f"at level {noise.level:.5g}, {seen}"
    rows = [("noise, counts", f"{noise.sigma:.4g}", f"{noise.sigma_error:.2g}", at)]
    if noise.reason:
        rows.append(("gain", "cannot be told", "", noise.reason))
        return rows
    reach = f"levels from {noise.lowest:.5g} to {noise.highest:.5g}"
    rows.append(("gain, electrons/count", f"{noise.gain:.4g}", f"{noise.gain_error:.2g}", reach))
    if math.isfinite(noise.read):
        row = ("read noise, counts", f"{noise.read:.4g}", f"{noise.read_error:.2g}")
        rows.append((*row, "at level 0, if that is no light"))
    else:
        rows.append(("read noise", "cannot be told", "", "level 0 is not without light"))
    return rows


def _spots_line(result: Calibration) -> str:
    used = 0 if result.spots is None else int(result.spots.used.sum())
    parts = [f"{count} {reason}" for reason, count in result.dropped.most_common() if count]
    left_out = f"; left out: {', '.join(parts)}" if parts else ""
    return f"{result.found} candidate spots, {used} in use, of {result.objects} objects{left_out}"


def as_json(result: Calibration) -> str:
    """The calibration as JSON; what cannot be told is null."""
    used = 0 if result.spots is None else int(result.spots.used.sum())
    document = {
        "recording": result.recording,
        "frames": result.frames,
        "psf": None if result.psf is None else _psf_document(result.psf),
        "form": "Gaussian" if result.sampled is None else "sampled",
        "noise": None if result.noise is None else _noise_document(result.noise),
        "problem": result.problem,
        "doubts": list(result.warnings),
        "candidates": result.found,
        "spots": used,
        "objects": result.objects,
        "left_out": {reason: count for reason, count in result.dropped.items() if count},
    }
    return json.dumps(document, indent=2, allow_nan=False)


def _psf_document(psf: Psf) -> dict[str, Any]:
    axes, errors = psf.axes, psf.axes_error
    return {
        "sigma_x": psf.sigma[0],
        "sigma_y": psf.sigma[1],
        "sigma_x_error": psf.sigma_error[0],
        "sigma_y_error": psf.sigma_error[1],
        "elliptical": psf.elliptical,
        **{name: _known(value) for name, value in axes._asdict().items()},
        **{f"{name}_error": _known(value) for name, value in errors._asdict().items()},
        "scatter": psf.scatter,
        "misfit": _known(psf.misfit),
        "psf_error": psf.rms_misfit,
    }


def _noise_document(noise: Noise) -> dict[str, Any]:
    numbers = ("sigma", "level", "lowest", "highest", "gain", "read")
    errors = ("sigma_error", "gain_error", "read_error")
    return {
        **{name: _known(getattr(noise, name)) for name in (*numbers, *errors)},
        "method": noise.method,
        "reason": noise.reason,
    }


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def samples_path(configuration: Path) -> Path:
    """Where the samples of a PSF are written, beside the configuration."""
    return configuration.resolve().with_suffix(".psf.npy")


def write_configuration(path: Path, result: Calibration) -> None:
    """Write a configuration of the node and, where the PSF is no Gaussian, its samples beside it.

    Raises:
        DscsnetError: the PSF could not be told, or a file cannot be written.
    """
    text = as_configuration(result, samples_path(path))
    if result.sampled is not None:
        try:
            np.save(samples_path(path), result.sampled.psf.samples.astype(np.float32))
        except OSError as error:
            raise DscsnetError(
                f"{samples_path(path)}: cannot be written: {error.strerror}"
            ) from None
    write_text(path, text)


def as_configuration(result: Calibration, samples: Path = Path("psf.npy")) -> str:
    """A configuration of the node with the measured PSF, and how it was measured as a comment.

    Args:
        samples: where those of a PSF that is no Gaussian are written.

    Raises:
        DscsnetError: the PSF could not be told.
    """
    psf = result.psf
    if psf is None:
        raise DscsnetError(f"no configuration without a PSF: {result.problem}")
    used = 0 if result.spots is None else int(result.spots.used.sum())
    lines = [
        f"Measured by dscsnet calibrate on {' '.join(result.recording.split())}",
        f"{used} spots of {result.objects} objects in {result.frames} frames",
        *(f"{name}: {value} ± {error}" for name, value, error, _ in _psf_rows(psf) if error),
        *(f"{name}: {value} {error and '± ' + error} {note}" for name, value, error, note in
          _noise_rows(result.noise)),
        *(f"doubt: {doubt}" for doubt in result.warnings),
    ]  # fmt: skip
    comment = "".join(f"# {' '.join(line.split())}\n" for line in lines)
    settings = "".join(f"  {line}\n" for line in _engine_settings(result, psf, samples))
    crop = ""
    if result.saturation is not None:
        crop = (
            f"crop:\n  saturation: {result.saturation:g}   # counts; the brightest that was met\n"
        )
    return f"{comment}engine:\n{settings}{crop}"


def _engine_settings(result: Calibration, psf: Psf, samples: Path) -> Iterator[str]:
    """Lines of the node's `engine`."""
    sigma_x, sigma_y = psf.sigma
    axes = psf.axes
    if result.sampled is not None:
        yield f"psf_file: {json.dumps(str(samples))}   # the PSF is no Gaussian"
        yield f"psf_oversampling: {result.sampled.psf.oversampling}   # samples a px"
    elif psf.is_turned:
        numbers = f"[{axes.long:.4f}, {axes.short:.4f}, {axes.angle:.2f}]"
        yield f"psf_ellipse: {numbers}   # sigma_major and sigma_minor, px; degrees from x to y"
    else:
        yield f"psf_sigma: [{sigma_x:.4f}, {sigma_y:.4f}]   # along x and y, px"
    yield f"psf_error: {psf.rms_misfit:.4f}   # of a pixel's light"
    if result.noise is not None and math.isfinite(result.noise.gain):
        yield f"gain: {result.noise.gain:.4g}   # electrons a count"


def check_free(path: Path, force: bool) -> None:
    """Refuse to replace a file unless told to.

    Raises:
        DscsnetError: the file is there.
    """
    if path.exists() and not force:
        raise DscsnetError(f"{path}: is there already; give --force to replace it, or another name")


def write_text(path: Path, text: str) -> None:
    """Write a file.

    Raises:
        DscsnetError: it cannot be written.
    """
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise DscsnetError(f"{path}: cannot be written: {error.strerror}") from None
