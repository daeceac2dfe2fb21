"""What a recorder can be told."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

MEBIBYTE = 2**20


class Recording(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The recorder: where to, in what pieces, and what gives way."""

    file: (
        Annotated[str, Meta(pattern=r"\.mcap$", description="OUT.mcap; null: nothing is recorded")]
        | None
    ) = None
    segment_s: Annotated[
        float, Meta(ge=0, description="begin a new file after so many seconds; 0: never")
    ] = 600.0
    segment_mib: Annotated[
        float, Meta(ge=0, description="begin a new file after so many MiB; 0: never")
    ] = 2048.0
    queue_messages: Annotated[
        int, Meta(ge=1, le=1_000_000, description="messages that wait for the disk, at most")
    ] = 4096
    queue_mib: Annotated[
        float, Meta(gt=0, description="their size, MiB; what comes beyond is dropped and counted")
    ] = 256.0
    compression: Annotated[
        Literal["none", "lz4", "zstd"],
        Meta(description="of frames and images; the small messages are always compressed"),
    ] = "none"
    annotations: Annotated[
        bool, Meta(description="targets and spots once more, as viewers draw them")
    ] = True
    images: Annotated[
        bool, Meta(description="frames once more, as viewers show them: doubles the size")
    ] = False
    sync: Annotated[bool, Meta(description="force what was written onto the disk every second")] = (
        True
    )

    @property
    def is_segmented(self) -> bool:
        """Whether files are numbered."""
        return self.segment_s > 0 or self.segment_mib > 0
