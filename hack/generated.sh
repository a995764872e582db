#!/bin/sh
# Fails when a generated file is not what "make generate" writes.
set -eu
before=$(git diff --no-ext-diff; git ls-files -o --exclude-standard)
${GO:-go} generate ./...
after=$(git diff --no-ext-diff; git ls-files -o --exclude-standard)
[ "$before" = "$after" ] || { echo "generated files are not up to date; run make generate and commit" >&2; git status --short >&2; exit 1; }
