#!/bin/sh
# Installed by `weft hook install`.
# Checks each branch that is about to be pushed. `git push --no-verify` goes past it.
set -eu
weft=@WEFT@
[ -x "$weft" ] || weft=weft
refs=$(git config --get weft.refs) || refs='refs/heads/*'

status=0
while read -r _ id ref _; do
    case $ref in
    $refs) ;;
    *) continue ;;
    esac
    # An id of zeros alone: the branch is removed.
    case $id in
    *[!0]*) ;;
    *) continue ;;
    esac
    if ! "$weft" validate --rev "$id" </dev/null >&2; then
        printf 'weft: %s is not pushed\n' "$ref" >&2
        status=1
    fi
done
exit $status
