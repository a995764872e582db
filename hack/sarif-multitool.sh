#!/bin/sh
# Fetches Microsoft's SARIF validator from npm into a folder and prints the path of its binary, for the tests:
#
#	CTAUDIT_MULTITOOL=$(hack/sarif-multitool.sh) go test ./internal/render
#
# The folder is $1, or ctaudit-multitool in the user's cache. The wrapper that npm puts on PATH hides the exit status and
# expects a postinstall script to have run; the platform's own binary needs neither.
set -eu

dir=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/ctaudit-multitool}
version=5.7.0
tool=$dir/node_modules/@microsoft/sarif-multitool-linux/Sarif.Multitool

command -v npm >/dev/null || { echo "sarif-multitool: npm is not installed" >&2; exit 1; }
if [ ! -f "$tool" ]; then
	mkdir -p "$dir"
	npm install --prefix "$dir" --no-audit --no-fund --ignore-scripts "@microsoft/sarif-multitool-linux@$version" >&2
fi
chmod u+x "$tool"
echo "$tool"
