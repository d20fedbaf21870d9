#!/bin/sh
# build.sh PYTHON DIRECTORY: builds the wheel mir-flare-core from the published sources of mir-flare into DIRECTORY.
# Takes three CPU minutes and 1.5 GB of memory; the wheel is for processors like this machine's.
set -eu

python=$1
mkdir -p "$2"
directory=$(cd "$2" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
version=1.4.0
sha256=99d3710110f2647e697896df32f604537294c9ff20a84bad6db2bc8bc02b23f7

fail() {
    echo "magflow: $1" >&2
    exit 3
}

command -v c++ >/dev/null || fail "a C++ compiler is needed: apt-get install g++"
if [ ! -d /usr/include/eigen3 ] || [ ! -d /usr/include/nlohmann ]; then
    sh "$here/../apt_install.sh" libeigen3-dev nlohmann-json3-dev ||
        fail "mir-flare needs the headers of Eigen and nlohmann-json."
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
echo "mir-flare==$version --hash=sha256:$sha256" > "$work/sources.txt"
"$python" -m pip download --quiet --no-deps --no-binary :all: --dest "$work" --requirement "$work/sources.txt" ||
    fail "the sources of mir-flare $version, sha256 $sha256, cannot be had; pip says why above."
tar -C "$work" -xzf "$work/mir_flare-$version.tar.gz"

package="$work/package"
mkdir -p "$package/mir_flare_core"
cp -r "$work/mir_flare-$version/src" "$work/mir_flare-$version/LICENSE" "$package"
cp "$here/CMakeLists.txt" "$here/pyproject.toml" "$here/environments.cpp" "$package"
echo '"""The C++ core of mir-flare, and environments of atoms on it."""' > "$package/mir_flare_core/__init__.py"
# One compiler at a time: some sources take a gigabyte each.
CMAKE_BUILD_PARALLEL_LEVEL=1 "$python" -m pip wheel --quiet --no-deps --wheel-dir "$directory" "$package"
