#!/bin/sh
# Installed by `weft hook install`.
# Checks each branch that somebody pushes, and asks the gates of fabric.yaml of the branches that peers
# follow; when the check fails, or a gate wants an approval, nothing of the push is taken.
set -eu
weft=@WEFT@
[ -x "$weft" ] || weft=weft
refs=$(git config --get weft.refs) || refs='refs/heads/*'
# The repository's own branch, unless it is said.
gates=$(git config --get weft.gateRefs) || gates=$(git symbolic-ref --quiet HEAD) || gates=

status=0
while read -r old id ref; do
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
        continue
    fi
    case $ref in
    $gates) ;;
    *) continue ;;
    esac
    # Before the first commit nothing is in force that could become wider.
    case $old in
    *[!0]*) ;;
    *) continue ;;
    esac
    if ! "$weft" --color never plan --base "$old" --head "$id" </dev/null >&2; then
        printf 'weft: %s is refused\n' "$ref" >&2
        status=1
    fi
done
exit $status
