#!/usr/bin/env bash
# Tests a wheel where there is nothing else: not in the sources, and in a virtual environment of its
# own.
#
#   bindings-python/tests/wheel.sh WHEEL ARCHIVE
set -euo pipefail
wheel=$(realpath "$1") archive=$(realpath "$2")
here=$(dirname "$(realpath "$0")")
work=$(mktemp -d "${TMPDIR:-/tmp}/skep-wheel.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check "$wheel"
cd "$work"
"$work/venv/bin/python" -I "$here/../../examples/python/hello.py" "$archive" "$work/store" |
    diff "$here/../../tests/examples/expected/hello.txt" -
"$work/venv/bin/pip" install -q --disable-pip-version-check pytest
"$work/venv/bin/pytest" -q -p no:cacheprovider --rootdir "$here/.." "$here/test_behaviours.py"
