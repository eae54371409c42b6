#!/usr/bin/env bash
# All tests, from a clean clone, as root: packages, builds, every suite, and that the host is as it was before.
#   scripts/test.sh            everything (a guest on pure cgroup v2, the sanitizers, the release build, escape, workloads and soak)
#   scripts/test.sh --quick    the dev build only: style, unit, integration, black box
#   scripts/test.sh --long     more repetitions of crash and soak tests
# Ends with a summary, the skip list with reasons, and the line "N passed, N failed, N skipped".
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib/packages.sh
. scripts/lib/packages.sh

quick=no
for argument in "$@"; do
    case "$argument" in
        --quick) quick=yes ;;
        --long) export SANDBOXD_TEST_LONG=1 ;;
        -h | --help) sed -n '2,6s/^# \{0,1\}//p' "$0"; exit 0 ;;
        *) die "unknown argument: $argument" ;;
    esac
done

need_root
# A short path: Unix sockets below it must fit 108 bytes. On disk, not tmpfs: the pool is an image file of some size.
work="$(mktemp -d /var/tmp/sbxt.XXXXXX)"
reports="$work/reports"
scratch="$work/t"
mkdir -p "$reports" "$scratch" build
export TMPDIR="$scratch"
export PYTHONDONTWRITEBYTECODE=1
failed_builds=()

python=/usr/bin/python3

# shellcheck disable=SC2317 # called by the trap
finish() {
    local code=$?
    if [ "$code" -ne 0 ] && [ ! -e "$work/summarised" ]; then
        say "stopped before the end (exit code $code); reports are in $reports"
    fi
}
trap finish EXIT

timed() { # timed TITLE COMMAND...: says how long it took
    local title="$1" began=$SECONDS code=0
    shift
    step "$title"
    "$@" || code=$?
    say "-- $title: $((SECONDS - began)) s"
    return "$code"
}

try_build() { # try_build PRESET [TARGET...]: a build that fails is a failed test; the other suites still run
    if ! timed "build $1" build "$@"; then
        failed_builds+=("$1")
        printf 'build of preset %s failed\n0 passed, 1 failed, 0 skipped\n' "$1" >"$reports/build-$1.txt"
        return 1
    fi
}

suite() { # suite PRESET LABEL [JOBS]: ctest by label, its report into $reports
    local preset="$1" label="$2" jobs="${3:-1}"
    if ctest --test-dir "build/$preset" -L "^$label\$" -N | grep -q '^Total Tests: 0$'; then
        # Said aloud and counted: a suite that is not registered must not look like one that passed.
        printf 'SKIP %s (%s): this build registers no such test\n0 passed, 0 failed, 1 skipped\n' "$label" "$preset" |
            tee "$reports/$preset-$label.txt"
        return 0
    fi
    timed "$label ($preset)" ctest --test-dir "build/$preset" -L "^$label\$" -j "$jobs" --output-on-failure \
        --no-tests=error --output-junit "$reports/$preset-$label.xml" \
        --test-output-size-passed 1000000 --test-output-size-failed 1000000 ||
        say "-- $label ($preset): failures"
    [ -s "$reports/$preset-$label.xml" ] ||
        printf 'no report\n0 passed, 1 failed, 0 skipped\n' >"$reports/$preset-$label.txt"
}

timed "packages" install_missing "${BUILD_PACKAGES[@]}" "${RUN_PACKAGES[@]}" "${TEST_PACKAGES[@]}"
if [ "$quick" = no ]; then
    timed "graders of the attack suite" install_graders
    export SANDBOXD_WORKLOAD_SKIPS="$work/workload-skips"
    timed "packages of the workloads" install_workloads "$SANDBOXD_WORKLOAD_SKIPS" build/workload-packages.log
fi
"$python" scripts/lib/leftovers.py save "$work/baseline.json"

jobs="$(nproc)"
if try_build dev; then
    suite dev style "$jobs"
    suite dev unit "$jobs"
    suite dev integration
    suite dev blackbox
    # Pure cgroup v2 and another kernel, in a guest without KVM.
    if [ "$quick" = no ]; then suite dev vm; fi
fi

if [ "$quick" = no ]; then
    # Sanitizers see the unit tests only; address and undefined share one build to save a third of the time.
    if [ ! -f build/asan/build.ninja ]; then
        cmake --preset asan -DSANDBOXD_SANITIZE=address,undefined >build/asan.configure.log
    fi
    try_build asan unit_tests && suite asan unit "$jobs"
    try_build tsan unit_tests && suite tsan unit "$jobs"
    # What is shipped is what is attacked and worn out.
    if try_build release && [ -d build/dev/tests ]; then
        export SANDBOXD_BIN_DIR="$PWD/build/release/bin"
        suite dev escape
        if [ -n "${SANDBOXD_TEST_LONG:-}" ]; then suite dev abuse; fi
        say "-- attacks by class"
        "$python" tests/escape/results.py build/dev/escape-results >&2 || true
        suite dev workloads
        suite dev soak
        unset SANDBOXD_BIN_DIR
    fi
fi

step "what is left on the host"
"$python" scripts/lib/leftovers.py check "$work/baseline.json" | tee "$reports/leftovers.txt" || true
residue="$(find "$scratch" -mindepth 1 -maxdepth 1 -printf '%f ' 2>/dev/null)"
if [ -n "$residue" ]; then
    printf 'left in the tests'"'"' folder: %s\n0 passed, 1 failed, 0 skipped\n' "$residue" | tee "$reports/residue.txt"
fi

step "summary (${SECONDS} s)"
touch "$work/summarised"
code=0
"$python" scripts/lib/summary.py "$reports" || code=$?
if [ "$code" -eq 0 ]; then
    rm -rf --one-file-system "$work"
else
    say "reports and scratch are kept in $work"
fi
exit "$code"
