#!/bin/sh
# Installed by `weft hook install`.
# Checks each branch that is about to be pushed, and asks the gates of fabric.yaml of the branches that
# peers follow. `git push --no-verify` goes past it.
set -eu
weft=@WEFT@
[ -x "$weft" ] || weft=weft
refs=$(git config --get weft.refs) || refs='refs/heads/*'
# What the remote calls its own branch, unless it is said.
gates=$(git config --get weft.gateRefs) ||
    gates=$(git symbolic-ref --quiet "refs/remotes/$1/HEAD" | sed "s|^refs/remotes/$1/|refs/heads/|") ||
    gates=

status=0
while read -r _ id ref old; do
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
        continue
    fi
    case $ref in
    $gates) ;;
    *) continue ;;
    esac
    case $old in
    *[!0]*) ;;
    *) continue ;;
    esac
    if ! git cat-file -e "$old^{commit}" 2>/dev/null; then
        printf 'weft: what %s is there is not here, so the gates are not asked: git fetch\n' "$ref" >&2
    elif ! "$weft" plan --base "$old" --head "$id" </dev/null >&2; then
        printf 'weft: %s is not pushed\n' "$ref" >&2
        status=1
    fi
done
exit $status
