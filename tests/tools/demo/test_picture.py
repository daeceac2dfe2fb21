"""What the picture shows, where, and by which choice."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from dscsnet.engines.errors import DscsnetError
from dscsnet.engines.imaging import render
from dscsnet.pipeline.messages import Targets
from dscsnet.tools.demo import enlarged_spot, picture
from dscsnet.tools.demo.enlarged_spot import (
    CROP,
    SIDE,
    ZOOM,
    EnlargedSpot,
    Targeted,
    caption,
    draw_crop,
    enlarge,
)
from dscsnet.tools.demo.picture import (
    FRAME_WIDTH,
    HEAD,
    LEGEND,
    MARGIN,
    choose_frame,
    choose_spots,
    draw_picture,
    place_label,
    subtitle,
)
from dscsnet.tools.demo.scene_truth import TrueFrame
from dscsnet.tools.drawing.canvas import (
    BACKGROUND,
    RESOLVED,
    TRUTH,
    cross,
    overlap,
    ring,
    save_picture,
    stretch,
    text_width,
    write,
)

Truth = Callable[..., TrueFrame]
Answer = Callable[..., Targets]
SHAPE = (96, 120)


def frame_of(truth: TrueFrame) -> np.ndarray:
    true = truth.targets
    image = render(true.x, true.y, true.intensity, SHAPE, 0.5)
    return (1000 + image + np.random.default_rng(0).normal(0, 5, SHAPE)).astype(np.uint16)


def centroid(before: np.ndarray, after: np.ndarray) -> tuple[float, float]:
    """Centre of what changed, weighted by how much."""
    change = np.abs(after.astype(float) - before).sum(axis=2)
    rows, columns = np.indices(change.shape)
    return (change * columns).sum() / change.sum(), (change * rows).sum() / change.sum()


@pytest.mark.parametrize(("x", "y"), [(40.0, 30.0), (40.37, 29.81)])
@pytest.mark.parametrize("draw", [cross, ring])
def test_marks_lie_where_they_are_told(draw: Callable[..., None], x: float, y: float) -> None:
    before = np.full((60, 80, 3), BACKGROUND, np.uint8)
    after = before.copy()
    draw(after, x, y, 9.0, RESOLVED)
    assert centroid(before, after) == pytest.approx((x, y), abs=0.12)


def test_text_keeps_to_its_width_and_height() -> None:
    picture = np.zeros((60, 600, 3), np.uint8)
    write(picture, "a line that would be far too wide", 10, 40, height=20, width=150)
    rows, columns = np.nonzero(picture.any(axis=2))
    assert columns.min() >= 9
    assert 100 < columns.max() <= 161
    assert rows.min() > 20
    assert rows.max() < 48
    assert text_width("wider", 20) > text_width("wide", 20)


def test_stretch_is_black_at_low_white_at_high_and_monotonic() -> None:
    counts = np.array([[0.0, 100.0, 150.0, 199.0, 200.0, 900.0]])
    for gamma in (0.5, 1.0, 2.0):
        grey = stretch(counts, 100, 200, gamma)[0, :, 0].astype(int)
        assert grey[[0, 1, 4, 5]].tolist() == [0, 0, 255, 255]
        assert (np.diff(grey) >= 0).all()
        assert grey[2] == round(255 * 0.5**gamma)


def test_crosses_and_circles_lie_on_the_pixels_of_their_targets(
    true_frame: Truth, published: Answer
) -> None:
    x, y = 40.3, 50.8
    truth = true_frame([[(x, y, 900)]])
    pixels = frame_of(truth)
    spot = [(40.4, 50.6)]
    views = {}
    for name, true, answer in (
        ("bare", true_frame([]), published(spot)),
        ("true", truth, published(spot)),
        ("resolved", true_frame([]), published(spot, [(x, y, 900)])),
    ):
        views[name] = np.zeros((SIDE, SIDE, 3), np.uint8)
        draw_crop(views[name], enlarge(pixels, true, answer, 0))
    # The crop is centred on pixel (40, 51); its pixel squares start at half a pixel before that.
    where = ((x - 36 + 0.5) * ZOOM - 0.5, (y - 47 + 0.5) * ZOOM - 0.5)
    for name, colour in (("true", TRUTH), ("resolved", RESOLVED)):
        rows, columns = np.nonzero((views[name] == colour).all(axis=2))
        assert (columns.mean(), rows.mean()) == pytest.approx(where, abs=0.6)
    squares = views["bare"][ZOOM // 2 :: ZOOM, ZOOM // 2 :: ZOOM, 0]
    assert np.unravel_index(squares.argmax(), squares.shape) == (4, 4)
    assert (views["bare"].reshape(CROP, ZOOM, CROP, ZOOM, 3).std(axis=(1, 3)) == 0).all()


def test_a_candidate_at_the_corner_is_cut_inside_the_frame(
    true_frame: Truth, published: Answer
) -> None:
    truth = true_frame([[(1, 0, 900)], [(119, 95, 900)]])
    answer = published([(1, 0), (119, 95)], [(1, 0, 800), (119, 95, 800)])
    pixels = frame_of(truth)
    for spot, corner in ((0, (0, 0)), (1, (120 - CROP, 96 - CROP))):
        enlarged = enlarge(pixels, truth, answer, spot)
        assert (enlarged.left, enlarged.top) == corner
        assert enlarged.pixels.shape == (CROP, CROP)
        assert len(enlarged.true.x) == len(enlarged.resolved.x) == 1


def test_caption_counts_and_measures(true_frame: Truth, published: Answer) -> None:
    truth = true_frame([[(40, 50, 1000), (41.5, 50, 1000)], [(80, 50, 1000)]])
    targets = [(40, 50.1, 900), (41.5, 50.3, 1300), (40, 52, 100), (80, 50, 1000)]
    pixels = frame_of(truth)
    enlarged = enlarge(pixels, truth, published([(40.7, 50)], targets), 0)
    assert caption(enlarged) == (
        "true 2, resolved 3, found 2",
        "median errors: 0.200 px, intensity 20.0 %",
    )
    enlarged = enlarge(pixels, truth, published([(40.7, 50)]), 0)
    assert caption(enlarged) == ("true 2, resolved 0, found 0", "none found within 0.5 px")


def test_the_frame_with_most_reported_clusters_nearest_the_middle(
    true_frame: Truth, published: Answer
) -> None:
    truth = [true_frame([[(10, 10, 1)], [(50, 50, 1)]], frame_id) for frame_id in range(7)]
    one, both = [(10, 10)], [(10, 10), (50, 50)]
    spots = [both, both, one, one, both, both, both]
    answers = [published(each, frame_id=k) for k, each in enumerate(spots)]
    assert choose_frame(truth, answers) == 4
    assert choose_frame(truth, [*answers[:4], None, *answers[5:]]) == 5
    dropped = published([], status="dropped")
    assert choose_frame(truth, [dropped] * 7) is None


def test_spots_of_different_numbers_and_never_by_quality(
    true_frame: Truth, published: Answer
) -> None:
    sizes = [1, 1, 1, 3, 2, 3, 1]
    clusters = [[(20 * k + 0.6 * i, 40, 5) for i in range(n)] for k, n in enumerate(sizes)]
    truth = true_frame(clusters)
    # candidates in another order than the clusters, and one at none
    order = [6, 5, 4, 3, 2, 1, 0]
    spots = [(20.0 * k, 40.0) for k in order] + [(300.0, 40.0)]
    chosen = choose_spots(truth, published(spots), 5)
    assert [order[spot] for spot in chosen] == [0, 1, 4, 3, 5]
    good = published(spots, [row for rows in clusters for row in rows])
    assert choose_spots(truth, good, 5) == chosen


def test_numbers_keep_clear_of_boxes_and_of_one_another() -> None:
    rng = np.random.default_rng(2)
    size = (960, 768)
    boxes = [
        (x - 11, y - 11, x + 11, y + 11)
        for x, y in rng.uniform((12, 12), (948, 756), (25, 2)).tolist()
    ]
    boxes += [(0.0, 0.0, 22.0, 22.0), (938.0, 740.0, 959.0, 767.0)]
    taken = list(boxes)
    for number, box in enumerate(boxes):
        label = place_label(box, str(number), True, taken, size)
        assert not any(overlap(label, other) for other in taken)
        assert label[0] >= 0
        assert label[1] >= 0
        assert label[2] < size[0]
        assert label[3] < size[1]
        taken.append(label)


def test_the_whole_picture(true_frame: Truth, published: Answer, tmp_path: Path) -> None:
    truth = true_frame([[(30, 40, 900), (31, 40, 700)], [(80, 60, 900)]])
    answer = published([(30.4, 40), (80, 60), (60, 20)], [(30, 40.1, 900), (80, 60, 900)])
    picture = draw_picture(frame_of(truth), truth, answer, "a title")
    assert (picture[HEAD - 8, :] == BACKGROUND).all()  # texts end above the panels
    view = picture[HEAD : HEAD + 768, MARGIN : MARGIN + FRAME_WIDTH]
    zoom = FRAME_WIDTH / SHAPE[1]
    # the frame is enlarged in place: its brightest spot is where the target is
    bright = np.argwhere((view > 200).all(axis=2))
    near = np.abs(bright / zoom - (40, 30.5)).max(axis=1) < 3
    assert near.any()
    right = 2 * MARGIN + FRAME_WIDTH
    for place, resolved in ((0, True), (1, True)):
        left = right + place * (SIDE + MARGIN)
        crop = picture[HEAD + LEGEND : HEAD + LEGEND + SIDE, left : left + SIDE]
        assert (crop == RESOLVED).all(axis=2).any() == resolved
        assert (crop == TRUTH).all(axis=2).any()
    assert "3 candidate spots" in subtitle(truth, answer)
    assert "3 true targets: 2 found within 0.5 px, 1 missed" in subtitle(truth, answer)
    save_picture(tmp_path / "a.png", picture)
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "a.png")), picture)
    with pytest.raises(DscsnetError, match="cannot be written"):
        save_picture(tmp_path / "nothing" / "a.png", picture)


@pytest.mark.parametrize(
    ("other", "shares"),
    [
        ((12, 12, 18, 18), True),
        ((5, 12, 11, 18), True),
        ((12, 5, 18, 11), True),
        ((20, 12, 25, 18), False),  # they touch
        ((5, 12, 10, 18), False),
        ((12, 20, 18, 25), False),
        ((12, 5, 18, 10), False),
        ((25, 25, 30, 30), False),
    ],
)
def test_boxes_overlap_that_share_an_area(other: tuple[int, ...], shares: bool) -> None:
    box = (10, 10, 20, 20)
    assert overlap(box, other) == overlap(other, box) == shares  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("number", "spots"),
    [(1, [2]), (2, [1, 2]), (3, [0, 1, 2]), (4, [0, 1, 2, 5]), (5, [0, 1, 4, 2, 5])],
)
def test_where_not_all_numbers_fit_the_larger_ones_are_shown(
    true_frame: Truth, published: Answer, number: int, spots: list[int]
) -> None:
    members = [1, 2, 3, 1, 2, 3]
    clusters = [
        [(30.0 * place, 20.0 + k, 100.0) for k in range(size)]
        for place, size in enumerate(members, 1)
    ]
    places = [(30.0 * place, 20.0) for place in range(1, 7)]
    assert choose_spots(true_frame(clusters), published(places), number) == spots


def test_enlarged_spots_lie_on_top_and_their_numbers_come_first(
    published: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    boxes: list[tuple[float, int]] = []
    numbers: list[str] = []
    monkeypatch.setattr(
        picture, "outline", lambda _view, box, _colour, wide: boxes.append((box[0], wide))
    )
    monkeypatch.setattr(picture, "write", lambda _view, text, *_, **__: numbers.append(text))
    spots = [(20.0 * k, 40.0) for k in range(1, 6)]
    view = np.zeros((80, 120, 3), np.uint8)
    picture._draw_frame(view, np.zeros((80, 120), np.uint16), published(spots), [3, 1])
    # Boxes of 15 px about their spots, those of the two that are shown last and with a wide line.
    order = [(0, 1), (2, 1), (4, 1), (1, 2), (3, 2)]
    lefts = [20.0 * (k + 1) - 7.5 for k, _ in order]
    assert [left for left, _ in boxes] == pytest.approx(lefts, abs=0.51)
    assert [wide for _, wide in boxes] == [wide for _, wide in order]
    assert numbers == ["3", "1", "4", "2", "0"]


def test_a_number_may_touch_the_upper_left_edges_and_not_the_others() -> None:
    wide, high = text_width("7", 15) + 2, 18

    def first(left: float, top: float, size: tuple[int, int]) -> bool:
        """Whether the first place, above the box and flush with its left side, is taken."""
        label = place_label((left, top, left + 40, top + 40), "7", False, [], size)
        return label == (left, top - high - 2, left + wide, top - 2)

    large = (200, 200)
    assert first(0, high + 2, large)
    assert not first(-1, high + 2, large)
    assert not first(0, high + 1, large)
    assert first(50, 60, (50 + wide + 1, 200))
    assert not first(50, 60, (50 + wide, 200))
    assert first(50, 60, (200, 60 - 2 + 1))


def test_a_crop_is_grey_from_its_background_to_its_brightest_pixel() -> None:
    pixels = np.arange(CROP * CROP, dtype=np.uint16).reshape(CROP, CROP)
    nothing = Targeted(*np.zeros((3, 0)))
    view = np.zeros((SIDE, SIDE, 3), np.uint8)
    draw_crop(view, EnlargedSpot(0, pixels, 0, 0, nothing, nothing))
    greys = view[ZOOM // 2 :: ZOOM, ZOOM // 2 :: ZOOM, 0].ravel()
    # Of 81 values 0 to 80 the 30th percentile is 24; the faint ones are lifted a little.
    expected = 255 * np.clip((np.arange(81) - 24) / 56, 0, 1) ** 0.8
    np.testing.assert_allclose(greys, expected, atol=0.51)
    small = np.zeros((SIDE, SIDE, 3), np.uint8)
    draw_crop(small, EnlargedSpot(0, pixels[:4, :5], 0, 0, nothing, nothing))
    assert small[4 * ZOOM - 1, 5 * ZOOM - 1].tolist() == [255] * 3
    assert not small[4 * ZOOM :].any()
    assert not small[:, 5 * ZOOM :].any()


def test_arms_are_as_long_as_targets_are_bright(monkeypatch: pytest.MonkeyPatch) -> None:
    arms: list[float] = []
    monkeypatch.setattr(
        enlarged_spot, "cross", lambda _view, _x, _y, arm, _colour: arms.append(arm)
    )
    pixels, nothing = np.ones((CROP, CROP), np.uint16), Targeted(*np.zeros((3, 0)))
    resolved = Targeted(np.arange(4.0), np.arange(4.0), np.array([100.0, 50.0, 35.0, 1.0]))
    view = np.zeros((SIDE, SIDE, 3), np.uint8)
    draw_crop(view, EnlargedSpot(0, pixels, 0, 0, nothing, resolved))
    assert arms == pytest.approx([10, 5, 3.5, 3.5])
    draw_crop(view, EnlargedSpot(0, pixels, 0, 0, nothing, nothing))


@pytest.mark.parametrize(
    ("position", "size", "first"),
    [
        (10.0, 100, 6),
        (10.49, 100, 6),
        (10.5, 100, 7),
        (3.0, 100, 0),
        (0.0, 100, 0),
        (95.0, 100, 91),
        (96.0, 100, 91),
        (99.0, 100, 91),
        (5.0, 9, 0),
        (5.0, 7, 0),
    ],
)
def test_a_crop_lies_in_its_frame(position: float, size: int, first: int) -> None:
    assert enlarged_spot._first_pixel(position, size) == first


@pytest.mark.parametrize(("away", "near"), [(3.0, True), (3.01, False)])
def test_a_candidate_within_three_pixels_shows_a_cluster(
    true_frame: Truth, published: Answer, away: float, near: bool
) -> None:
    truth = true_frame([[(20.0, 40.0, 5.0)]])
    assert choose_spots(truth, published([(20.0 + away, 40.0)])) == [0] * near
