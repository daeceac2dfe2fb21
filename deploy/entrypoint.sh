#!/bin/sh
# Runs dscsnet in a container. numba refuses a cache that it cannot write to, also when all is in it:
# so the cache that the image was built with, which nobody can write to, is copied to a fresh folder
# of this user's. On a processor unlike the image's, what does not fit is compiled once more there.
set -eu
NUMBA_CACHE_DIR=$(mktemp -d "${TMPDIR:-/tmp}/numba-XXXXXX")
export NUMBA_CACHE_DIR
cp -R "${DSCSNET_NUMBA_CACHE:-/opt/dscsnet/numba}/." "$NUMBA_CACHE_DIR"
exec dscsnet "$@"
