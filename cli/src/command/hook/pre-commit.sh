#!/bin/sh
# Installed by `weft hook install`.
# Checks what is about to be committed: the index, not the files on disk.
# `git commit --no-verify` goes past it.
set -eu
weft=@WEFT@
[ -x "$weft" ] || weft=weft

tree=$(git write-tree)
if ! "$weft" validate --rev "$tree" >&2; then
    echo 'weft: nothing is committed' >&2
    exit 1
fi
