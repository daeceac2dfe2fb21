"""Every form in which a PSF can be told, and which models take it."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dscsnet
from dscsnet.pipeline.unmix.psf import state
from dscsnet.tools.robustness.render import Gaussian, add

Unmixer, Settings = dscsnet.Unmixer, dscsnet.PsfFitSettings
QUICK = Settings(most=1, starts=0)


@pytest.mark.parametrize(
    ("told", "meant"),
    [
        (0.7, (0.7, 0.7)),
        (1, (1, 1)),
        (np.float32(0.5), (0.5, 0.5)),
        ([0.6, 0.8], (0.6, 0.8)),
        ((0.8, 0.6, 0), (0.8, 0.6)),
        ((0.8, 0.6, 180), (0.8, 0.6)),
        ((0.8, 0.6, 90), (0.6, 0.8)),
        ((0.8, 0.6, -90), (0.6, 0.8)),
        ((0.7, 0.7, 33), (0.7, 0.7)),
        (np.array([0.8, 0.6, 30]), (0.8, 0.6, 30)),
        ("psf.npy", Path("psf.npy")),
        (None, None),
    ],
)
def test_what_is_told_and_what_is_meant(told: Any, meant: object) -> None:
    assert state(told) == meant


@pytest.mark.parametrize(
    "told", [0, -1, math.nan, math.inf, (1, 2, 3, 4), (), ["a", "b"], True, 1j, [[1], [2, 3]]]
)
def test_what_is_no_psf(told: Any) -> None:
    with pytest.raises(dscsnet.InputError, match=r"^psf: expected a width"):
        state(told)


def test_grids_take_widths_along_the_axes_only() -> None:
    with Unmixer((0.48, 0.52), "scene-compact", threads=1) as unmixer:
        assert unmixer.psf == (0.48, 0.52)
    for told in ((0.52, 0.48, 30), np.pad(np.ones((3, 3)), 3)):
        with pytest.raises(dscsnet.ModelError, match=r"^the model scene-compact .*psf-fit"):
            Unmixer(told, "scene-compact")
    with pytest.raises(dscsnet.ModelError, match=r"0\.475 to 0\.525 px.*psf-fit"):
        Unmixer(3.0, "scene-compact")
    with pytest.raises(dscsnet.ModelError, match=r"^PSF file nowhere\.npy does not exist"):
        Unmixer("nowhere.npy", "scene-compact")


def test_the_field_models_take_all(tmp_path: Path) -> None:
    """A turned ellipse, told as such and by its samples: one star of it is found as one."""
    turned = Gaussian(0.8, 0.6, 30)
    axis = np.arange(-40, 41) / 8
    samples = turned(axis[None], axis[:, None])
    np.save(tmp_path / "psf.npy", samples)
    image = np.random.default_rng(0).normal(1000, 10, (30, 40))
    add(image, turned, np.array([18.3]), np.array([14.6]), np.array([5000.0]))
    forms = ((0.8, 0.6, 30), samples, tmp_path / "psf.npy")
    for told in forms:
        with Unmixer(told, threads=1, oversampling=8) as unmixer:
            np.testing.assert_allclose(unmixer.psf, (0.7550, 0.6557), atol=5e-3)
            found = unmixer.frame(image.astype(np.float32), [18], [15])
            assert found.spots.count.tolist() == [1]
            np.testing.assert_allclose(found.targets.x, 18.3, atol=0.08)
            np.testing.assert_allclose(found.targets.y, 14.6, atol=0.08)
            np.testing.assert_allclose(found.targets.intensity, 5000, rtol=0.06)


def test_the_fit_takes_all() -> None:
    """Widths along the image's axes of a turned ellipse: the diagonal of its covariance."""
    turn = math.radians(30)
    rotation = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    widths = np.sqrt(np.diag(rotation @ np.diag([0.9**2, 0.6**2]) @ rotation.T))
    with Unmixer((0.9, 0.6, 30), "psf-fit", psf_fit=QUICK) as unmixer:
        np.testing.assert_allclose(unmixer.psf, widths)
    with Unmixer(2.5, "psf-fit", psf_fit=Settings(most=1, starts=0, crop_size=21)) as unmixer:
        assert unmixer.psf == (2.5, 2.5)
        assert unmixer.crop_size == 21


def test_samples_are_told_as_an_array_or_a_file(tmp_path: Path) -> None:
    axis = np.arange(-12, 13) / 4
    samples = np.exp(-0.5 * ((axis[:, None] / 0.6) ** 2 + (axis / 0.8) ** 2))
    file = tmp_path / "psf.npy"
    np.save(file, samples)
    crops = np.random.default_rng(0).normal(100, 3, (2, 11, 11))
    crops[:, 4:7, 4:8] += 90
    found = []
    for told in (samples, file):
        with Unmixer(told, "psf-fit", oversampling=4, psf_fit=QUICK) as unmixer:
            np.testing.assert_allclose(unmixer.psf, (0.8, 0.6), rtol=0.02)
            found.append(unmixer.crops(crops.astype(np.float32)))
    assert found[0].spots.count.tolist() == [1, 1]
    np.testing.assert_array_equal(found[0].targets.x, found[1].targets.x)


def test_settings_of_the_fit_are_for_the_fit() -> None:
    with pytest.raises(dscsnet.InputError, match=r"^psf_fit: "):
        Unmixer(0.7, "field-mlp", psf_fit=QUICK)
    with pytest.raises(dscsnet.InputError, match=r"^least_existence: "):
        Unmixer(0.7, "psf-fit", least_existence=0.1)
    with pytest.raises(dscsnet.InputError, match=r"^psf: sigma_x"):
        Unmixer(1e4, "psf-fit")
    with Unmixer(None, "psf-fit", psf_fit=Settings(sigma_x=1.2, most=1, starts=0)) as unmixer:
        assert unmixer.psf == (1.2, 1.2)
