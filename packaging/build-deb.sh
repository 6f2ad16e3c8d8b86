#!/usr/bin/env bash
# Builds the Debian package of the machine's own architecture and prints its path. Needs cargo and cargo-deb
# (`cargo install cargo-deb --locked`), and dpkg-dev for the list of libraries.
#
# The same commit gives the same bytes, if toolchain and path are the same: all times are the commit's.
#
# usage: packaging/build-deb.sh [OPTION OF cargo deb]...     e.g. --maintainer 'Ann <ann@example.org>'
set -euo pipefail
cd "$(dirname "$0")/.."

cargo deb --version >/dev/null 2>&1 || { echo "cargo-deb is missing: cargo install cargo-deb --locked" >&2; exit 1; }
command -v dpkg-shlibdeps >/dev/null || { echo "dpkg-shlibdeps is missing: apt-get install dpkg-dev" >&2; exit 1; }

if [[ -z "${SOURCE_DATE_EPOCH:-}" ]]; then
    SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null) ||
        { echo "no commit tells the time: set SOURCE_DATE_EPOCH to the source's, in seconds since 1970" >&2; exit 1; }
fi
export SOURCE_DATE_EPOCH
target="${CARGO_TARGET_DIR:-target}"

cargo build --release --locked >&2

# cargo-deb reads the assets of target/packaging wherever the target directory is.
made="$target/packaging"
mkdir -p "$made"
pixcell="$target/release/pixcell"
"$pixcell" man >"$made/pixcell.1"
"$pixcell" completions bash >"$made/pixcell.bash"
"$pixcell" completions zsh >"$made/_pixcell"
"$pixcell" completions fish >"$made/pixcell.fish"

cargo deb --no-build --locked "$@"
