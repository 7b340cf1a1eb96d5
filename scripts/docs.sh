#!/usr/bin/env bash
# Builds the documentation in build/docs/html and shows it at http://127.0.0.1:8000; Ctrl-C ends that.
#   bash scripts/docs.sh          builds and serves
#   bash scripts/docs.sh --build  builds only; a warning is an error
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/_venv.sh
prepare_venv "[docs]"
export TF_CPP_MIN_LOG_LEVEL=3
.venv/bin/python -m sphinx -q -W --keep-going -d build/docs/doctrees docs build/docs/html
echo "build/docs/html/index.html"
if [ "${1:-}" != --build ]; then
    exec .venv/bin/python -m http.server --directory build/docs/html --bind 127.0.0.1 8000
fi
