#!/usr/bin/env bash
# Every shell script parses; shellcheck, where it is installed, has nothing to say.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
files=()
while IFS= read -r name; do
    [ -f "$name" ] && head -n 1 "$name" | grep -Eq '^#!.*\b(ba)?sh\b|^# shellcheck shell=' && files+=("$name")
done < <(git ls-files --cached --others --exclude-standard -- scripts .ci bench tests packaging)
[ "${#files[@]}" -gt 0 ] || { echo "no shell scripts found: is this a git tree?"; exit 1; }
for name in "${files[@]}"; do
    bash -n "$name"
done
if command -v shellcheck >/dev/null; then
    shellcheck -x "${files[@]}"
    echo "${#files[@]} shell scripts: ok"
else
    echo "${#files[@]} shell scripts parse (shellcheck is not installed)"
fi
