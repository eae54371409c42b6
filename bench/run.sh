#!/usr/bin/env bash
# Benchmarks against peers measured in the same run: bench/run.sh [--quick] [--no-build] [NAME...]
# NAME: p3 p4 p5 p9 p10 p11 p13 p14 (default: all). Writes bench/results/DATE.json, .md and .svg, and docs/benchmarks.md.
# A benchmark is not a test: it fails when something does not work, never because it was slow.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib/packages.sh
. scripts/lib/packages.sh

need_root
build_it=yes
arguments=()
for argument in "$@"; do
    case "$argument" in
        --no-build) build_it=no ;;
        -h | --help) sed -n '2,4s/^# \{0,1\}//p' "$0"; exit 0 ;;
        *) arguments+=("$argument") ;;
    esac
done
if [ "$build_it" = yes ]; then
    install_missing "${BUILD_PACKAGES[@]}" "${RUN_PACKAGES[@]}" "${BENCH_PACKAGES[@]}"
    build release
fi
export SANDBOXD_BIN_DIR="${SANDBOXD_BIN_DIR:-$PWD/build/release/bin}"
[ -x "$SANDBOXD_BIN_DIR/sandboxd-api" ] || die "no sandboxd-api in $SANDBOXD_BIN_DIR: build the release preset first"
PYTHONDONTWRITEBYTECODE=1 exec /usr/bin/python3 bench/bench.py "${arguments[@]}"
