"""What a calibration prints, as a table, as JSON and as a configuration."""

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from dscsnet.engines.errors import DscsnetError
from dscsnet.tools.calibration import report
from dscsnet.tools.calibration.result import Calibration
from tests.tools.calibration.made_up import NAN, NOTHING, ROUND, TURNED, calibration_of, noise_of


def printed(result: Calibration) -> list[str]:
    file = io.StringIO()
    report.print_report(Console(file=file, width=200), result)
    return [" ".join(line.split()) for line in file.getvalue().splitlines()]


def test_a_round_psf_with_gain_and_noise() -> None:
    # sigma is 0.5 px; its error is that of the variance over twice sigma.
    assert printed(calibration_of())[2:] == [
        "PSF sigma_x, px 0.5000 0.0010",
        "PSF sigma_y, px 0.5000 0.0010",
        "angle none round within the errors",
        "form Gaussian 0.1 % of the light",
        "noise, counts 5 0.12 at level 200, in time alone",
        "gain, electrons/count 20 0.5 levels from 100 to 300",
        "read noise, counts 3 0.25 at level 0, if that is no light",
        "25 candidate spots, 7 in use, of 4 objects; left out: 3 saturated, 2 too faint",
    ]


def test_an_ellipse_has_axes_and_an_angle() -> None:
    """Variances of 0.34 with a covariance of 0.16: 0.5 along the diagonal and 0.18 across."""
    rows = dict(row[:2] for row in report._psf_rows(TURNED))
    assert list(rows) == [
        *("PSF sigma_x, px", "PSF sigma_y, px", "long axis, px", "short axis, px"),
        "angle of the long axis, °",
    ]
    assert list(rows.values()) == ["0.5831", "0.5831", "0.7071", "0.4243", "45.0"]


def test_what_cannot_be_told_is_said() -> None:
    no_gain = noise_of(gain=NAN, read=NAN, method="in space", reason="too few levels")
    assert [row[0:2] for row in report._noise_rows(no_gain)] == [
        ("noise, counts", "5"),
        ("gain", "cannot be told"),
    ]
    assert report._noise_rows(no_gain)[0][3].endswith("with fixed pattern and texture")
    assert report._noise_rows(noise_of(read=NAN))[2][:2] == ("read noise", "cannot be told")
    assert printed(NOTHING) == [
        "a recording: 9 frames read",
        "0 candidate spots, 0 in use, of 0 objects",
    ]
    doubtful = calibration_of(warnings=("one", "two"))
    assert printed(doubtful)[-2:] == ["doubt: one", "doubt: two"]


def test_json_has_null_for_what_is_not_known() -> None:
    document = json.loads(report.as_json(calibration_of(noise=noise_of(read=NAN, read_error=NAN))))
    assert document["psf"]["sigma_x"] == 0.5
    assert document["psf"]["sigma_x_error"] == pytest.approx(1e-3)
    assert (document["psf"]["elliptical"], document["psf"]["angle"]) == (False, None)
    assert (document["psf"]["scatter"], document["psf"]["misfit"]) == (0.02, 0.01)
    assert (document["noise"]["read"], document["noise"]["read_error"]) == (None, None)
    assert (document["noise"]["gain"], document["noise"]["gain_error"]) == (20.0, 0.5)
    assert (document["spots"], document["objects"], document["candidates"]) == (7, 4, 25)
    assert document["left_out"] == {"too faint": 2, "saturated": 3}
    assert document["frames"] == 9
    nothing = json.loads(report.as_json(NOTHING))
    assert (nothing["psf"], nothing["noise"], nothing["spots"]) == (None, None, 0)
    assert nothing["problem"].startswith("no spots")


def test_a_configuration_says_how_it_was_measured() -> None:
    text = report.as_configuration(calibration_of(TURNED, warnings=("turned",)))
    assert yaml.safe_load(text) == {
        "engine": {"psf_ellipse": [0.7071, 0.4243, 45.0], "psf_error": 0.001, "gain": 20}
    }
    assert text.splitlines()[:2] == [
        "# Measured by dscsnet calibrate on a recording",
        "# 7 spots of 4 objects in 9 frames",
    ]
    assert "# long axis, px: 0.7071 ± " in text
    assert "# gain, electrons/count: 20 ± 0.5 levels from 100 to 300\n" in text
    assert "# doubt: turned\n" in text
    without = report.as_configuration(calibration_of(ROUND, spots=None, noise=None))
    assert "# 0 spots of 4 objects" in without
    assert "angle" not in without  # none has no error
    assert yaml.safe_load(without) == {"engine": {"psf_sigma": [0.5, 0.5], "psf_error": 0.001}}
    full = replace(calibration_of(ROUND), saturation=4095.0)
    assert yaml.safe_load(report.as_configuration(full))["crop"] == {"saturation": 4095}
    with pytest.raises(DscsnetError, match="no configuration without a PSF: no spots"):
        report.as_configuration(NOTHING)


def test_files_are_replaced_only_when_told(tmp_path: Path) -> None:
    path = tmp_path / "node.yaml"
    report.check_free(path, force=False)
    report.write_text(path, "° µ\n")
    assert path.read_text(encoding="utf-8") == "° µ\n"
    report.check_free(path, force=True)
    with pytest.raises(DscsnetError, match="is there already"):
        report.check_free(path, force=False)
    with pytest.raises(DscsnetError, match=r"none/a\.yaml: cannot be written: "):
        report.write_text(tmp_path / "none" / "a.yaml", "")
