#!/usr/bin/env bash
# From a fresh checkout to a picture: makes .venv, installs tfstyle, and paints the embedded castle in the manner of The
# Starry Night. Arguments are those of `tfstyle stylize`: bash scripts/quickstart.sh photo.jpg painting.jpg --size 768
set -euo pipefail
here=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD
. scripts/_venv.sh
prepare_venv ""
cd "$here"
exec "$root/.venv/bin/tfstyle" demo "$@"
