"""One-to-one matching of two sets of points, optimal."""

import numpy as np
from numpy.typing import ArrayLike

from dscsnet.engines.array_types import Float, Index

Positions = tuple[ArrayLike, ArrayLike]


def match_points(first: Positions, second: Positions, radius: float) -> tuple[Index, Float]:
    """Pair the points of two sets: as many as can be, and those as close as can be.

    No point has two partners, and no pair is farther apart than `radius`. Of all such pairings
    the one with the most pairs is taken, and of those the one with the least sum of distances.

    Args:
        first, second: x and y of (n,) and of (m,) points, px.
        radius: greatest distance of a pair, px.

    Returns:
        partner: (n,) index into the second set, or -1.
        distance: (n,) to the partner, px; NaN without one.
    """
    between = distances(first, second)
    rows, columns = between.shape
    # To the right each row has a column of its own that stands for "no partner". It costs more
    # than all distances together, so that no pair is given up for the sake of shorter others.
    cost = np.full((rows, columns + rows), np.inf)
    cost[:, :columns] = np.where(between <= radius, between, np.inf)
    cost[np.arange(rows), columns + np.arange(rows)] = 2 * radius * rows + 1
    partner = assign(cost)
    partner[partner >= columns] = -1
    distance = np.full(rows, np.nan)
    paired = np.flatnonzero(partner >= 0)
    distance[paired] = between[paired, partner[paired]]
    return partner, distance


def distances(first: Positions, second: Positions) -> Float:
    """Distance of each point of the first set to each of the second: (n, m), px."""
    x, y = (np.subtract.outer(np.asarray(a, float), b) for a, b in zip(first, second, strict=True))
    return np.hypot(x, y)


def assign(cost: Float) -> Index:
    """Give each row a column of its own at the least total cost.

    The Hungarian method, one row at a time: the new row gets a column along the cheapest chain of
    reassignments (Dijkstra's search on costs reduced by the prices of rows and columns).

    Args:
        cost: (n, m); infinite where a row must not have a column. An assignment must exist.

    Returns:
        (n,) column of each row.
    """
    rows, columns = cost.shape
    row_price, column_price = np.zeros(rows), np.zeros(columns)
    owner = np.full(columns, -1)
    for new in range(rows):
        reach = np.full(columns, np.inf)  # cost of the cheapest chain that ends at each column
        before = np.full(columns, -1)  # the column before it in that chain; -1: it is the first
        done = np.zeros(columns, bool)
        row, column, length = new, -1, 0.0
        while row >= 0:
            through = length + cost[row] - row_price[row] - column_price
            better = ~done & (through < reach)
            reach[better], before[better] = through[better], column
            column = int(np.argmin(np.where(done, np.inf, reach)))
            done[column], length, row = True, reach[column], owner[column]
        row_price[new] += length
        passed = np.flatnonzero(done & (owner >= 0))
        row_price[owner[passed]] += length - reach[passed]
        column_price[passed] -= length - reach[passed]
        while column >= 0:
            owner[column] = owner[before[column]] if before[column] >= 0 else new
            column = before[column]
    chosen = np.empty(rows, np.int64)
    taken = np.flatnonzero(owner >= 0)
    chosen[owner[taken]] = taken
    return chosen
