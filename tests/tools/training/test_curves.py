"""Which curves are found, what is read from them, and that all of it is drawn."""

from pathlib import Path

import cv2
import numpy as np
import pytest

import dscsnet.tools.training.curves
from dscsnet.engines.errors import DscsnetError
from dscsnet.pipeline.errors import ConfigError
from dscsnet.tools.drawing.figure_style import time_unit
from dscsnet.tools.training.curves import (
    COLOURS,
    Curve,
    count_label,
    draw_curves,
    draw_run,
    find_curves,
    label_of,
    measures_of,
    read_curves,
    short_names,
)

HEADER = "step,crops,seconds,loss,cso_map"


ROWS = f"{HEADER}\n1000,64000,10.5,0.5,40\n2000,128000,21,0.4,45\n"


def written(folder: Path, text: str = ROWS) -> Path:
    folder.mkdir(parents=True)
    (folder / "curve.csv").write_text(text)
    return folder


def curve(name: str, **measures: list[float]) -> Curve:
    number = len(next(iter(measures.values())))
    rows = np.arange(1.0, number + 1)
    columns = {key: np.array(value) for key, value in measures.items()}
    return Curve(name, 64000 * rows, 100 * rows, columns)


def drawn(path: Path) -> np.ndarray:
    picture = cv2.imread(str(path))
    assert picture is not None
    return picture


def share_of(picture: np.ndarray, colour: str) -> int:
    """Pixels of a colour written as #rrggbb."""
    red, green, blue = (int(colour[k : k + 2], 16) for k in (1, 3, 5))
    return int((picture == (blue, green, red)).all(axis=2).sum())


def test_curves_are_found_in_files_runs_and_folders_of_runs(tmp_path: Path) -> None:
    a, b = written(tmp_path / "all" / "a"), written(tmp_path / "all" / "b")
    files = [a / "curve.csv", b / "curve.csv"]
    assert find_curves([tmp_path / "all"]) == files
    assert find_curves([b, a]) == files[::-1]
    assert find_curves([a / "curve.csv", a, tmp_path / "all"]) == files
    with pytest.raises(ConfigError, match=r"nothing: no run here: expected curve\.csv"):
        find_curves([tmp_path / "nothing"])


def test_rows_older_than_a_column_have_no_value(tmp_path: Path) -> None:
    text = f"{HEADER},nll\n1000,64000,10.5,0.5,40,\n2000,128000,21,0.4,45,-1.5\n"
    (read,) = read_curves([written(tmp_path / "run", text) / "curve.csv"])
    assert read.name == "run"
    np.testing.assert_array_equal(read.crops, [64000, 128000])
    np.testing.assert_array_equal(read.seconds, [10.5, 21])
    assert list(read.measures) == ["loss", "cso_map", "nll"]
    np.testing.assert_array_equal(read.measures["nll"], [np.nan, -1.5])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("step,crops,loss\n1,2,3\n", "expected a column seconds, got step, crops, loss"),
        (f"{HEADER}\n", "expected at least one row"),
        ("step,crops,seconds\n1,2,3\n", "expected at least one measure"),
        (f"{HEADER}\n1,64,1,high,4\n", "row 1, loss: expected a number, got 'high'"),
        ("", "expected a column step"),
    ],
)
def test_what_is_no_curve_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path / "run", text) / "curve.csv"
    with pytest.raises(ConfigError, match=message) as caught:
        read_curves([path])
    assert str(path) in str(caught.value)


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: "):
        read_curves([tmp_path / "curve.csv"])
    (tmp_path / "curve.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not a table"):
        read_curves([tmp_path / "curve.csv"])


def test_names_are_as_short_as_tells_runs_apart() -> None:
    assert short_names([Path("/runs/a"), Path("/runs/b")]) == ["a", "b"]
    assert short_names([Path("/old/a"), Path("/new/a"), Path("/new/b")]) == [
        "old/a",
        "new/a",
        "new/b",
    ]
    assert short_names([Path("/new/a"), Path("/new/a")]) == ["a", "a"]
    assert short_names([]) == []


def test_measures_in_their_order_with_names_for_people() -> None:
    curves = [curve("a", loss=[1.0], nll=[1.0]), curve("b", cso_map_noise5=[1.0], loss=[1.0])]
    assert measures_of(curves) == ["cso_map_noise5", "nll", "loss"]
    names = ("cso_map", "cso_map_noise5", "nll", "count_accuracy")
    assert [label_of(name) for name in names] == [
        "CSO-mAP",
        "CSO-mAP, noise 5",
        "negative log-likelihood",
        "count accuracy",
    ]


def test_numbers_on_the_axes() -> None:
    crops = (500, 2000, 50_000, 1_000_000, 2_500_000_000)
    assert [count_label(number) for number in crops] == ["500", "2 k", "50 k", "1 M", "2.5 G"]
    assert [time_unit(seconds)[1] for seconds in (299, 300, 10799, 10800)] == [
        "s",
        "min",
        "min",
        "h",
    ]
    assert time_unit(7200)[0] == 60


def test_every_run_is_drawn_and_each_measure_has_its_panels(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    runs = [
        curve("first", loss=[0.5, 0.4, 0.3], cso_map=[40, 45, 46]),
        curve("second", loss=[50.0, 4.0, 0.2], cso_map=[41, np.nan, 44]),
    ]
    pictures = []
    for number in (1, 2):
        draw_curves(runs[:number], tmp_path / "a.png")
        pictures.append(drawn(tmp_path / "a.png"))
    one, two = pictures
    assert share_of(one, COLOURS[0]) > 200
    assert share_of(one, COLOURS[1]) == 0
    assert min(share_of(two, colour) for colour in COLOURS[:2]) > 200
    draw_curves([curve("one", cso_map=[40.0, 45.0])], tmp_path / "low.png")
    assert drawn(tmp_path / "low.png").shape[0] < 0.7 * one.shape[0]


def test_a_curve_of_one_row_shows(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    draw_curves([curve("short", loss=[0.5])], tmp_path / "a.png")
    assert share_of(drawn(tmp_path / "a.png"), COLOURS[0]) > 30


def test_where_the_picture_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = written(tmp_path / "run")
    curves = read_curves(find_curves([run]))
    with pytest.raises(DscsnetError, match=r"a\.jpg: expected a name that ends in \.png"):
        draw_curves(curves, tmp_path / "a.jpg")
    monkeypatch.setattr(dscsnet.tools.training.curves, "find_spec", lambda name: None)
    assert draw_run(run) is None
    assert not (run / "curve.png").exists()
    monkeypatch.undo()
    pytest.importorskip("matplotlib")
    assert draw_run(run) == run / "curve.png"
    assert share_of(drawn(run / "curve.png"), COLOURS[0]) > 200
    with pytest.raises(DscsnetError, match="cannot be written"):
        draw_curves(curves, tmp_path / "nothing" / "a.png")


def test_curves_come_by_name_whatever_the_folder_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [written(tmp_path / name) / "curve.csv" for name in "abc"]
    monkeypatch.setattr(Path, "glob", lambda self, pattern: iter(files[::-1]))
    assert find_curves([tmp_path]) == files


@pytest.mark.parametrize(
    ("values", "wide"),
    [([1.0, 10.0], False), ([1.0, 10.1], True), ([0.0, 10.1], False), ([np.nan, np.nan], False)],
)
def test_more_than_tenfold_is_wide_where_a_logarithm_can_show_it(
    values: list[float], wide: bool
) -> None:
    assert dscsnet.tools.training.curves._is_wide([np.array(values)]) == wide


def test_units_begin_at_their_size() -> None:
    assert [count_label(crops) for crops in (999.0, 1e3, 1e6, 1e9)] == ["999", "1 k", "1 M", "1 G"]
