"""The process's limit of open files and sockets."""

import resource

from dscsnet.pipeline.errors import ChannelError

#: What a node needs to start; with less libzmq ends the process without a word.
LEAST = 64
#: Enough for every peer, however many there are.
WANTED = 65_536


def allow_descriptors() -> None:
    """Raise the soft limit as far as the hard one allows.

    Raises:
        ChannelError: that is too little for a node.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = WANTED if hard == resource.RLIM_INFINITY else min(hard, WANTED)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
        soft = allowed
    if soft != resource.RLIM_INFINITY and soft < LEAST:
        raise ChannelError(
            f"only {soft} files and sockets may be open at once, a node needs {LEAST}: raise the "
            "limit (ulimit -n, or LimitNOFILE in a systemd unit)"
        )
