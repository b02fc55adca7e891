#!/bin/sh
# Builds the virtual environment: infra/install.sh FOLDER. Needs Debian with Python 3.11 or later; installs those of
# Debian's packages that are missing.
set -eu
folder=$1
here=$(cd "$(dirname "$0")/.." && pwd)
cd "$here"

for python in python3.11 python3.12 python3.13 python3; do
    if command -v "$python" >/dev/null && "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
        break
    fi
    python=
done
if [ -z "$python" ]; then
    echo "Shredvault needs Python 3.11 or later." >&2
    exit 1
fi

packages=
"$python" -c 'import ensurepip, venv' 2>/dev/null || packages="$packages python3-venv"
# Certificates are printed with Pango and HarfBuzz, and with fonts that have every letter of a name.
for library in pangoft2-1.0:libpangoft2-1.0-0 harfbuzz-subset:libharfbuzz-subset0; do
    "$python" -c "import ctypes; ctypes.CDLL('lib${library%%:*}.so.0')" 2>/dev/null || packages="$packages ${library##*:}"
done
[ -e /usr/share/fonts/truetype/dejavu/DejaVuSerif.ttf ] || packages="$packages fonts-dejavu-core"
command -v ssh-keygen >/dev/null || packages="$packages openssh-client"
if [ -n "$packages" ]; then
    as_root=
    [ "$(id -u)" = 0 ] || as_root=sudo
    echo "Installing$packages ..." >&2
    $as_root apt-get update -qq
    # shellcheck disable=SC2086  # a list of words
    $as_root apt-get install -y -qq --no-install-recommends $packages >/dev/null
fi

echo "Building $folder ..." >&2
"$python" -m venv --clear "$folder"
export PIP_DISABLE_PIP_VERSION_CHECK=1
"$folder/bin/pip" install --quiet --require-hashes --no-deps -r requirements.txt
"$folder/bin/pip" install --quiet --no-deps --no-build-isolation --no-index --editable .
