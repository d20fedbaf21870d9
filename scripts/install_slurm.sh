#!/bin/sh
# Installs what the tests marked `slurm` need, when it is absent: Slurm and munge. No service is set up: the tests start
# daemons of their own on the loopback interface and stop them. Where it cannot be had, those tests are skipped.
set -eu
PATH="$PATH:/usr/sbin"

if command -v slurmctld >/dev/null 2>&1 && command -v munged >/dev/null 2>&1; then
    echo "$(slurmctld -V) and munge are installed."
    exit 0
fi
# a package may want to start its service: the tests need none
sh "$(dirname "$0")/apt_install.sh" slurm-wlm munge || echo "The tests that need Slurm will be skipped." >&2
