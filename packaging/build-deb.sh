#!/usr/bin/env bash
# Builds the Debian package of the machine's own architecture and prints its path. Needs cargo and cargo-deb
# (`cargo install cargo-deb --locked`), and dpkg-dev for the list of libraries.
#
# The same commit and toolchain give the same bytes, wherever they lie: all times are the commit's, and paths of
# this machine are replaced.
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

# Messages of a panic name source files: ours from here on, but those of crates where cargo keeps them.
remap="--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"
RUSTFLAGS="${RUSTFLAGS:-} $remap" cargo build --release --locked >&2

# cargo-deb looks for these here, also where the target directory is another: it replaces no path but target/release.
made=target/packaging
mkdir -p "$made"
pixcell="$target/release/pixcell"
"$pixcell" man >"$made/pixcell.1"
"$pixcell" completions bash >"$made/pixcell.bash"
"$pixcell" completions zsh >"$made/_pixcell"
"$pixcell" completions fish >"$made/pixcell.fish"

# Debian's own list of changes says that there is one of ours.
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
maintainer=$(sed -n 's/^maintainer = "\(.*\)"$/\1/p' Cargo.toml)
{
    printf 'pixcell (%s-1) unstable; urgency=medium\n\n  * See changelog.gz.\n\n' "$version"
    printf ' -- %s  %s\n' "$maintainer" "$(LC_ALL=C date -u -R -d "@$SOURCE_DATE_EPOCH")"
} | gzip -9n >"$made/changelog.Debian.gz"
gzip -9n <CHANGELOG.md >"$made/changelog.gz"

cargo deb --no-build --locked "$@"
