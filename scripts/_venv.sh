# Makes or reuses .venv and installs tfstyle into it; sourced by the scripts beside it.
#   prepare_venv EXTRA    EXTRA is "", "[test]" or "[docs]"

prepare_venv() {
    local extra=$1 python=${PYTHON:-python3} stamp
    if ! command -v "$python" >/dev/null; then
        echo "$python was not found; install Python 3.10 to 3.13, or name it: PYTHON=python3.12 bash $0" >&2
        exit 1
    fi
    if ! "$python" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))'; then
        echo "$("$python" --version) is not supported; name Python 3.10 to 3.13: PYTHON=python3.12 bash $0" >&2
        exit 1
    fi
    if [ ! -x .venv/bin/pip ]; then
        echo "Making a virtual environment in .venv ..." >&2
        if ! "$python" -m venv .venv >&2; then
            rm -rf .venv
            echo "It could not be made. On Debian and Ubuntu: sudo apt-get install python3-venv; then run this again." >&2
            exit 1
        fi
    fi
    stamp=.venv/installed$extra
    if [ ! "$stamp" -nt setup.cfg ] || [ ! "$stamp" -nt pyproject.toml ]; then
        echo "Installing tfstyle$extra into .venv (TensorFlow is large; the first time takes minutes) ..." >&2
        # In this mode mypy and editors find the package; pip before 22.1 has no option for it, and ignores the variable.
        PIP_CONFIG_SETTINGS=editable_mode=compat \
            .venv/bin/pip install --quiet --disable-pip-version-check --editable ".$extra" >&2
        touch "$stamp"
    fi
}
