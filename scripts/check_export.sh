#!/usr/bin/env bash
# Exports the extractor and has four programs load it that know nothing of tfstyle: TensorFlow in a clean environment, a C
# program on TensorFlow's C API, OpenVINO and ONNX Runtime. Prints how far each is from Keras. Needs gcc.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/_venv.sh
prepare_venv "[test,export]"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
.venv/bin/python scripts/check_export.py make "$folder"
if [ ! -x .venv-stranger/bin/pip ]; then
    .venv/bin/python -m venv .venv-stranger
    .venv-stranger/bin/pip install --quiet --disable-pip-version-check tensorflow openvino onnxruntime >&2
fi
cd "$folder"
"$OLDPWD/.venv-stranger/bin/python" "$OLDPWD/scripts/check_export.py" check "$folder"
