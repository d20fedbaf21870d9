#!/bin/sh
# apt_install.sh PACKAGE...: installs packages of the system's package manager (Debian, Ubuntu). Exit code 3, saying why,
# where that is impossible.
set -eu

impossible() {
    echo "magflow: cannot install $packages: $1" >&2
    exit 3
}

packages="$*"
command -v apt-get >/dev/null 2>&1 || impossible "there is no apt-get on this system."

as_root=""
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null 2>&1 || impossible "you are not root and there is no sudo: ask an administrator."
    if sudo -n true 2>/dev/null || [ -t 0 ]; then
        as_root="sudo"
    else
        impossible "sudo asks for a password and nobody is there to type it: run 'sudo apt-get install $packages'."
    fi
fi

echo "Installing $packages ..."
install() {
    # shellcheck disable=SC2086  # one word per package is meant
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $packages
}
# A fresh machine has no package lists yet: try, refresh, try again.
install || { $as_root apt-get update && install; } || impossible "apt-get failed; see its message above."
