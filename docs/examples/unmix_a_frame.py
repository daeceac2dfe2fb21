"""One frame from pixels to targets, and a picture of it.

    python docs/examples/unmix_a_frame.py [PICTURE.png]

Needs the extra `plot` (matplotlib). Everything else here is what a program with frames of its own
would write, but for the frame, which is simulated: three spots of one, two and three targets.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Ellipse

import dscsnet
from dscsnet.engines.imaging import render

PSF = 0.7  # sigma, px: `dscsnet calibrate` measures that of a sensor
SHAPE = (72, 96)
TRUE_X = np.array([20.3, 48.0, 49.2, 76.0, 77.3, 76.3])
TRUE_Y = np.array([50.2, 22.0, 22.5, 49.0, 49.6, 50.3])
TRUE_COUNTS = np.array([500.0, 900, 600, 1000, 800, 900])

# A frame: sky that brightens downwards, noise, and the targets as the sensor blurs them.
sky = 1000 + 2.0 * np.arange(SHAPE[0])[:, None]
noise = np.random.default_rng(4).normal(0, 6, SHAPE)
image = np.round(sky + noise + render(TRUE_X, TRUE_Y, TRUE_COUNTS, SHAPE, PSF)).astype(np.uint16)

# The detector sees three spots; the unmixer says what they are made of.
spots = dscsnet.Detector(PSF)(image)
with dscsnet.Unmixer(PSF, threads=1) as unmixer:
    result = unmixer.frame(image, **spots.to_dict())
targets = result.targets
print(result)


def enlarge(axes: Axes, spot: int) -> None:
    """Draw a spot: the truth, and its targets with their 2-sigma ellipses."""
    x, y = spots.x[spot].round(), spots.y[spot].round()
    near = image[int(y) - 3 : int(y) + 4, int(x) - 3 : int(x) + 4]
    axes.imshow(near, cmap="gray", extent=(x - 3.5, x + 3.5, y + 3.5, y - 3.5))
    axes.plot(TRUE_X, TRUE_Y, "o", mfc="none", mec="tab:cyan", ms=9, mew=1.5, label="truth")
    axes.plot(targets.x, targets.y, ".", color="tab:red", ms=4, label="unmixed, 2 sigma")
    columns = (targets.x, targets.y, targets.sigma_x, targets.sigma_y)
    for target_x, target_y, sigma_x, sigma_y in zip(*columns, strict=True):
        place = (target_x, target_y)
        axes.add_patch(Ellipse(place, 4 * sigma_x, 4 * sigma_y, fill=False, color="tab:red"))
    axes.set(xticks=x + np.arange(-3, 4), yticks=y + np.arange(-3, 4))
    axes.set(xlim=(x - 3.5, x + 3.5), ylim=(y + 3.5, y - 3.5))
    axes.set_title(f"spot {spot}: {result.spots.count[spot]} target(s)", fontsize=10)


figure, panels = plt.subplots(
    1, 4, figsize=(12, 3), width_ratios=(1.3, 1, 1, 1), layout="constrained"
)
whole, *enlarged = panels
whole.imshow(image, cmap="gray")
whole.plot(spots.x, spots.y, "s", mfc="none", mec="tab:orange", ms=14)
whole.set_title("the frame, and the detector's spots", fontsize=10)
for number, panel in enumerate(enlarged):
    enlarge(panel, number)
enlarged[0].legend(fontsize=7, loc="upper right")
figure.savefig(sys.argv[1] if len(sys.argv) > 1 else "unmix_a_frame.png", dpi=80)
