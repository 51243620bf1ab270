#!/bin/sh
# Checks one commit, and shows what it changes: what the workflows of every forge run.
#
#   sh .weft/check.sh FORM BASE HEAD FOLDER
#
# FORM is how the findings are shown in the log: text, or github. BASE is the commit before; where
# there is none (a new branch: zeros alone, or nothing), only HEAD is checked. Reports go to FOLDER.
# The exit code is weft's: 0 fine, 1 errors, 2 it could not be checked, 4 a gate of fabric.yaml wants
# an approval.
set -u
form=$1
base=$2
head=$3
folder=$4

mkdir -p "$folder" || exit 2
worst=0

# Runs weft, and keeps the gravest exit code: that it could not be checked, then errors, then gates.
run() {
    code=0
    weft "$@" || code=$?
    case $worst/$code in
    */0 | 2/* | 1/4) ;;
    *) worst=$code ;;
    esac
}

run validate --rev "$head" -o "$form" -o markdown="$folder/validate.md" \
    -o sarif="$folder/validate.sarif" -o junit="$folder/validate.xml"

case $base in
*[!0]*) has_base=true ;;
*) has_base=false ;;
esac
if $has_base && ! git cat-file -e "$base^{commit}" 2>/dev/null; then
    # Else a clone without history would pass by every gate.
    printf 'weft: the commit before, %s, is not in this clone: what changes cannot be told\n' "$base" >&2
    worst=2
elif $has_base; then
    echo
    # The findings stand in the log already.
    run plan --base "$base" --head "$head" -o text -o markdown="$folder/plan.md" \
        -o json="$folder/plan.json"
    if git rev-parse --quiet --verify "$head^2" >/dev/null; then
        # Two changes, each of them harmless, may open something together: what came to the base
        # since this change began, and this change.
        echo
        run plan --merge "$head^1" "$head^2" -o text -o markdown="$folder/merge.md"
    fi
fi
exit $worst
