#!/bin/sh
# Installed by `weft hook install`.
# Checks each branch that somebody pushes; when the check fails, nothing of the push is taken.
set -eu
weft=@WEFT@
[ -x "$weft" ] || weft=weft
refs=$(git config --get weft.refs) || refs='refs/heads/*'

status=0
while read -r _ id ref; do
    case $ref in
    $refs) ;;
    *) continue ;;
    esac
    # An id of zeros alone: the branch is removed.
    case $id in
    *[!0]*) ;;
    *) continue ;;
    esac
    if ! "$weft" --color never validate --rev "$id" </dev/null >&2; then
        printf 'weft: %s is refused\n' "$ref" >&2
        status=1
    fi
done
exit $status
