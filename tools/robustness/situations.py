"""The situations of the battery."""

from dscsnet.tools.robustness.render import Airy, Gaussian, Moffat
from dscsnet.tools.robustness.scenes import CALIBRATED, Situation

BRIGHTNESS = (5.0, 10.0, 20.0, 50.0, 200.0, 1e3, 1e4, 1e5)
FWHM = 2.3548200450309493


def situations() -> list[Situation]:
    """All of them, in the order of the report."""
    return [
        *_brightness(),
        *_scales(),
        *_widths(),
        *_ellipses(),
        *_shapes(),
        *_shot(),
        *_edges(),
        *_boxes(),
        *_saturation(),
        *_others(),
    ]


def _brightness() -> list[Situation]:
    rows = []
    for number, word in ((1, "singles"), (2, "pairs 1.2 px"), (3, "triples 1.2 px")):
        for snr in BRIGHTNESS:
            rows.append(Situation(word, f"S/N {snr:g}", targets=number, snr=snr))
        # Whole counts without noise, whose peak is that of S/N 200.
        rows.append(
            Situation(
                word, "noise-free, whole counts", targets=number, snr=2e9, noise=1e-6, whole=True
            )
        )
    return rows


def _scales() -> list[Situation]:
    return [
        Situation(f"scale, {word}", f"counts x {scale:g}", scale=scale, targets=number)
        for number, word in ((1, "singles"), (2, "pairs 1.2 px"))
        for scale in (1e-15, 1e-6, 1e6, 1e12)
    ]


def _widths() -> list[Situation]:
    rows = []
    for sigma in (0.35, 0.45, 0.6, 0.9, 1.0, 1.2, 1.4, 1.7, 2.0):
        light = Gaussian(sigma, sigma)
        rows.append(Situation("width, singles", f"sigma {sigma:g} px", light))
        rows.append(
            Situation(
                "width, pairs",
                f"sigma {sigma:g} px",
                light,
                targets=2,
                snr=200,
                apart=max(1.2, 1.7 * sigma),
            )
        )
    return rows


def _ellipses() -> list[Situation]:
    rows = []
    for major, minor, angles in ((0.8, 0.6, (0, 30, 45, 90, 120)), (1.0, 0.5, (20, 70))):
        for angle in angles:
            light = Gaussian(major, minor, angle)
            name = f"{major:g} x {minor:g} px, {angle} degrees"
            rows.append(Situation("ellipse, singles", name, light))
            rows.append(Situation("ellipse, pairs 1.2 px", name, light, targets=2, snr=100))
    return rows


def _shapes() -> list[Situation]:
    lights = (
        ("Moffat 4", Moffat(0.7 * FWHM, 4)),
        ("Moffat 2.5", Moffat(0.7 * FWHM, 2.5)),
        ("Airy", Airy(0.7 / 0.42 * 1.22)),
    )
    return [
        Situation("calibrated shape", f"{name}, S/N {snr:g}", light, told=CALIBRATED, snr=snr)
        for name, light in lights
        for snr in (50.0, 500.0)
    ]


def _shot() -> list[Situation]:
    return [
        Situation(
            "shot noise",
            f"{number}, {electrons:g} e-",
            electrons=electrons,
            targets=targets,
            noise=3.0,
            settings={"gain": 1.0},
        )
        for targets, number in ((1, "singles"), (2, "pairs 1.2 px"))
        for electrons in (1e3, 1e4, 1e5)
    ]


def _edges() -> list[Situation]:
    return [
        Situation("edge", f"{low:g} to {high:g} px from the first column", edge=(low, high))
        for low, high in ((-0.5, 0), (0, 0.5), (0.5, 1), (1, 1.5), (1.5, 2), (2, 3), (3, 4), (4, 5))
    ]


def _boxes() -> list[Situation]:
    return [
        Situation(f"box, {word}", f"{side:g} px", box=side, targets=targets)
        for targets, word in ((1, "singles"), (2, "pairs 1.2 px"))
        for side in (3.0, 7.0, 9.0, 12.0, 16.0, 22.0, 30.0, 40.0)
    ]


def _saturation() -> list[Situation]:
    return [
        Situation(
            "saturation",
            f"at {share:g} of the peak, {'told' if told else 'not told'}",
            snr=200,
            clipped=share,
            clip_told=told,
        )
        for share in (0.9, 0.5, 0.25)
        for told in (True, False)
    ]


def _others() -> list[Situation]:
    told = 0.7
    drifts = [
        Situation(
            "drift",
            f"true / told width {ratio:g}, S/N {snr:g}",
            Gaussian(told * ratio, told * ratio),
            told=told,
            snr=snr,
        )
        for ratio in (0.7, 0.85, 0.9, 1.1, 1.2, 1.3, 1.5)
        for snr in (30.0, 200.0)
    ]
    resampled = [
        Situation(
            "resampled by half a pixel",
            f"{word}, S/N {snr:g}",
            told=0.86,
            resampled=True,
            targets=number,
            snr=snr,
        )
        for number, word in ((1, "singles"), (2, "pairs 1.2 px"))
        for snr in (50.0, 200.0)
    ]
    trails = [
        Situation("trail", f"{length:g} px", trail=length) for length in (0.5, 1.0, 1.5, 2.0, 3.0)
    ]
    return [*drifts, *resampled, *trails]
