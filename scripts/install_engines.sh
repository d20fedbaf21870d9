#!/bin/sh
# Installs what magflow's ABINIT engine needs, when it is absent: ABINIT and the PAW datasets of gpaw-data,
# through the system's package manager (Debian, Ubuntu). Does nothing when both are there.
set -eu

data=/usr/share/gpaw-setups/Fe.PBE.gz

missing=""
command -v abinit >/dev/null 2>&1 || missing="$missing abinit"
[ -f "$data" ] || missing="$missing gpaw-data"

if [ -z "$missing" ]; then
    echo "ABINIT $(abinit --version) and the PAW datasets of gpaw-data are installed."
    exit 0
fi

by_hand() {
    echo "magflow: these packages are missing:$missing" >&2
    echo "  $1" >&2
    echo "  Install ABINIT (https://www.abinit.org) and GPAW's PAW datasets (https://gpaw.readthedocs.io/setups/setups.html)," >&2
    echo "  then name them in ~/.magflow.yaml: abinit_command, dataset_dirs." >&2
    exit 3
}

command -v apt-get >/dev/null 2>&1 || by_hand "There is no apt-get on this system."

as_root=""
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null 2>&1 || by_hand "You are not root and there is no sudo: ask an administrator."
    if sudo -n true 2>/dev/null || [ -t 0 ]; then
        as_root="sudo"
    else
        by_hand "sudo asks for a password and nobody is there to type it: run 'sudo apt-get install$missing'."
    fi
fi

echo "Installing$missing ..."
install() {
    # shellcheck disable=SC2086  # one word per package is meant
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing
}
# A fresh machine has no package lists yet: try, refresh, try again.
install || { $as_root apt-get update && install; } || by_hand "apt-get could not install them; see its message above."

command -v abinit >/dev/null 2>&1 || by_hand "apt-get succeeded, but there is no abinit on PATH."
[ -f "$data" ] || by_hand "apt-get succeeded, but $data is not there."
echo "Installed: ABINIT $(abinit --version) and gpaw-data."
