#!/bin/sh
# Brings what the tests run against: infra/install-test-services.sh FOLDER. Installs Debian's SoftHSM2, OpenSC,
# PostgreSQL, OpenSSH client and strace where they are missing, and builds in FOLDER the environment of the KMS emulator,
# whose dependencies would not go together with ours. Starts no service and makes no database cluster: the tests
# start their own, on 127.0.0.1.
set -eu
folder=$1
here=$(cd "$(dirname "$0")/.." && pwd)
cd "$here"

missing=
for package in softhsm2 opensc postgresql openssh-client strace; do
    state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$state" = installed ] || missing="$missing $package"
done
if [ -n "$missing" ]; then
    as_root=
    [ "$(id -u)" = 0 ] || as_root=sudo
    echo "Installing$missing ..." >&2
    # Debian makes and starts a cluster when its server package is installed, unless this stands there before.
    settings=/etc/postgresql-common/createcluster.conf
    if [ ! -e "$settings" ]; then
        $as_root mkdir -p /etc/postgresql-common
        echo 'create_main_cluster = false' | $as_root tee "$settings" >/dev/null
    elif ! grep -Eq '^[[:space:]]*create_main_cluster[[:space:]]*=[[:space:]]*false' "$settings"; then
        echo 'create_main_cluster = false' | $as_root tee -a "$settings" >/dev/null
    fi
    $as_root apt-get update -qq
    # The settings file above is ours: dpkg must keep it without asking.
    # shellcheck disable=SC2086  # a list of words
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        -o Dpkg::Options::=--force-confold $missing >/dev/null
fi

for python in python3.11 python3.12 python3.13 python3; do
    if command -v "$python" >/dev/null && "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
        break
    fi
    python=
done
if [ -z "$python" ]; then
    echo "The KMS emulator needs Python 3.11 or later." >&2
    exit 1
fi

echo "Building $folder ..." >&2
"$python" -m venv --clear "$folder"
export PIP_DISABLE_PIP_VERSION_CHECK=1
"$folder/bin/pip" install --quiet --require-hashes --no-deps -r infra/test-services/ministack.txt
