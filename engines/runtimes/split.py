"""GPUs execute batches of a few sizes: kernels and CUDA graphs are made for each."""

#: Batches of these sizes are what is executed; one in between is filled up.
BUCKETS = (1, 8, 64, 256, 1024)
#: Up to this size a batch is filled up however few crops it has: the GPU hardly notices.
SMALL = 64


def split(number: int, buckets: tuple[int, ...]) -> list[tuple[int, int, int]]:
    """(first, last, bucket) of the pieces of a batch.

    A piece is filled up to its bucket where that at most doubles it or the bucket is small;
    otherwise the largest bucket that is full comes first.
    """
    pieces, first = [], 0
    while first < number:
        left = number - first
        above = next((b for b in buckets if b >= left), None)
        if above is not None and (above <= SMALL or above <= 2 * left):
            bucket = above
        else:
            bucket = max((b for b in buckets if b <= left), default=buckets[0])
        pieces.append((first, min(first + bucket, number), bucket))
        first += bucket
    return pieces
