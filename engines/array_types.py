"""Names for the array types that the code is full of; shapes stand in the docstrings."""

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Index = NDArray[np.int64]
Mask = NDArray[np.bool_]
