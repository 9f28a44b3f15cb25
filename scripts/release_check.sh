#!/usr/bin/env bash
# What a release must pass: every test, slow ones included (the claims of docs/results among them), lint, and
# the commands of the README in a fresh clone with a virtual environment and caches of its own.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ -n "$(git status --porcelain)" ]; then
    echo "release-check: there are uncommitted changes, which a clone does not hold; commit them first" >&2
    exit 1
fi

run() { # COMMAND...: with its time
    local start=$SECONDS
    "$@"
    echo "release-check: $((SECONDS - start)) s for $*"
}

run make test-all
run make lint

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
git clone --quiet . "$place/limbeck"
unset VIRTUAL_ENV PYTHONPATH PYTHONHOME
export LIMBECK_CACHE="$place/cache"
commands=$(grep -o '^make [a-z-]*' README.md | cut -d ' ' -f 2)
[ -n "$commands" ] || { echo "release-check: README.md names no make command; add the two commands" >&2; exit 1; }
for target in $commands; do
    run make -C "$place/limbeck" "$target"
done
echo "release-check: passed"
