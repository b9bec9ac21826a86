#!/bin/sh
# Says in one line what to install before .venv can be made. Usage: preflight.sh PYTHON
python=${1:-python3}
missing=""
if ! command -v "$python" >/dev/null 2>&1; then
    missing="python3 python3-venv"
elif ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "Python 3.11 or newer is needed ($("$python" -V)): run make PYTHON=/path/to/python3.11" >&2
    exit 1
elif ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    missing="python3-venv"
fi
case $(uname -m) in
x86_64 | aarch64) ;; # bubblewrap comes with our packages where the system has none
*) command -v bwrap >/dev/null 2>&1 || missing="$missing bubblewrap" ;;
esac
if [ -n "$missing" ]; then
    echo "first: sudo apt-get install -y$(printf ' %s' $missing)" >&2
    exit 1
fi
