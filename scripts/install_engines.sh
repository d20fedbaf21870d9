#!/bin/sh
# Installs what magflow's ABINIT engine needs, when it is absent: ABINIT and the PAW datasets of gpaw-data,
# through the system's package manager (Debian, Ubuntu). Does nothing when both are there.
set -eu

data=/usr/share/gpaw-setups/Fe.PBE.gz

missing=""
# Debian's ABINIT runs on the reference BLAS unless another is there.
command -v abinit >/dev/null 2>&1 || missing="$missing abinit libopenblas0-serial"
[ -f "$data" ] || missing="$missing gpaw-data"

if [ -z "$missing" ]; then
    echo "ABINIT $(abinit --version) and the PAW datasets of gpaw-data are installed."
    exit 0
fi

by_hand() {
    echo "magflow: $1" >&2
    echo "  Install ABINIT (https://www.abinit.org) and GPAW's PAW datasets (https://gpaw.readthedocs.io/setups/setups.html)," >&2
    echo "  then name them in ~/.magflow.yaml: abinit_command, dataset_dirs." >&2
    exit 3
}

# shellcheck disable=SC2086  # one word per package is meant
sh "$(dirname "$0")/apt_install.sh" $missing || by_hand "these packages are missing:$missing"
command -v abinit >/dev/null 2>&1 || by_hand "apt-get succeeded, but there is no abinit on PATH."
[ -f "$data" ] || by_hand "apt-get succeeded, but $data is not there."
echo "Installed: ABINIT $(abinit --version) and gpaw-data."
