#!/usr/bin/env bash
# Installs what the tests need, builds, and runs all tests; ends with one summary line. Needs root: the tests make real
# namespaces, control groups, mounts and loop devices.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib/packages.sh
source scripts/lib/packages.sh

need_root
step "packages"
install_missing "${BUILD_PACKAGES[@]}" "${RUN_PACKAGES[@]}" "${TEST_PACKAGES[@]}"

step "build (dev)"
build dev

step "tests"
log=build/dev/ctest.log
status=0
ctest --test-dir build/dev --output-on-failure --no-tests=error | tee "$log" || status=$?
skipped="$(grep -c '\*\*\*Skipped' "$log" || true)"
passed="$(grep -cE ' Passed +[0-9.]+ sec' "$log" || true)"
failed="$(grep -cE '\*\*\*(Failed|Timeout|Exception|Not Run)' "$log" || true)"

left="$(grep -cE ' /tmp/sbx-| /tmp/sandboxd' /proc/self/mountinfo || true)"
groups="$(find /sys/fs/cgroup -maxdepth 5 -name 'sandboxd-test*' 2>/dev/null | wc -l)"
if [ "$left" -ne 0 ] || [ "$groups" -ne 0 ]; then
    say "left behind: $left mounts, $groups control groups"
    status=1
    failed=$((failed + 1))
fi
echo "$passed passed, $failed failed, $skipped skipped"
exit "$status"
