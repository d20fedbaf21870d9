#!/bin/sh
# Installs what the tests of a directory on NFS need, when it is absent: NFS-Ganesha, which serves it, user-mode Linux,
# whose kernels mount it, and the tools that load its modules and make its network. No service is set up: the tests
# start what they need and stop it. They must be run by root; where it cannot be had, they are skipped.
set -eu
PATH="$PATH:/usr/sbin:/sbin"

lacking=""
for program in linux.uml ganesha.nfsd modprobe ip; do
    command -v "$program" >/dev/null 2>&1 || lacking="$lacking $program"
done
if [ -z "$lacking" ]; then
    echo "NFS-Ganesha and user-mode Linux are installed."
    exit 0
fi
# a package may want to start its service: the tests need none
sh "$(dirname "$0")/apt_install.sh" nfs-ganesha nfs-ganesha-vfs user-mode-linux kmod iproute2 ||
    echo "The tests that need a directory on NFS will be skipped." >&2
