#!/usr/bin/env bash
# Style checks, types, and the tests, two at a time; from a fresh checkout or an old one. Arguments are pytest's:
# bash scripts/test.sh -m slow
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/_venv.sh
prepare_venv "[test]"
.venv/bin/ruff check .
.venv/bin/ruff format --check .
.venv/bin/mypy
exec .venv/bin/python -m pytest -n 2 --dist worksteal "$@"
