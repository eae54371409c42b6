# shellcheck shell=bash disable=SC2034
# Packages by purpose, and their installation on Debian 12/13 and Ubuntu 24.04. Sourced by quickstart.sh and test.sh.

# Boost comes versioned: the unversioned package of Debian 12 (1.74) is too old. First hit wins.
readonly BOOST_CANDIDATES=(libboost1.83-dev libboost1.81-dev libboost1.88-dev libboost1.90-dev)

readonly BUILD_PACKAGES=(
    build-essential cmake ninja-build pkg-config ccache git ca-certificates
    libseccomp-dev libcap-dev nlohmann-json3-dev libsqlite3-dev libssl-dev libspdlog-dev
    libcli11-dev libtomlplusplus-dev prometheus-cpp-dev libarchive-dev
    zlib1g-dev libcurl4-openssl-dev) # what prometheus-cpp's CMake package looks for, used or not
# What a running daemon uses: mkfs.btrfs for the pool, python3 as an interpreter in the `host` template.
readonly RUN_PACKAGES=(btrfs-progs python3 curl)
# The last three make the guest of tests/vm; its kernel is only downloaded, by tests/vm/kernel.py.
readonly TEST_PACKAGES=(catch2 python3-aiohttp iproute2 shellcheck qemu-system-x86 busybox-static cpio)
# Graders of the attack suite: what can't be installed is a skip with its reason, no failure.
readonly GRADER_PACKAGES=(stress-ng trinity)
readonly BENCH_PACKAGES=(bubblewrap crun runc socat)
# What tests/workloads runs in sandboxes. PACKAGE, or PACKAGE:PROGRAM: the program may also come from elsewhere (a vendor's
# nodejs brings npm and conflicts with the distribution's). One that can't be installed is a skipped test, not a failed run.
readonly WORKLOAD_PACKAGES=(
    procps curl:curl git:git sqlite3:sqlite3 tmux:tmux strace:strace iputils-ping:ping
    gcc:gcc g++:g++ golang-go:go rustc:rustc cargo:cargo default-jdk-headless:javac
    nodejs:node npm:npm
    python3-pip python3-venv python3-setuptools python3-wheel libopenblas0-pthread python3-numpy python3-pandas python3-matplotlib
    postgresql chromium:chromium ffmpeg:ffmpeg)
readonly SANDBOX_PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

say() { printf '%s\n' "$*" >&2; }
step() { printf '\n== %s\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

need_root() {
    [ "$(id -u)" -eq 0 ] || die "this needs root (namespaces, cgroups, mounts): run it as root, e.g. sudo $0"
}

need_debian_like() {
    command -v apt-get >/dev/null || die "this script installs packages with apt-get, which is not here." \
        "On another distribution install the packages of scripts/lib/packages.sh by hand and run: cmake --preset release"
}

installed() { # installed PACKAGE
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

boost_headers_are_new_enough() {
    local header=/usr/include/boost/version.hpp
    [ -r "$header" ] && [ "$(sed -n 's/^#define BOOST_VERSION //p' "$header")" -ge 108100 ]
}

available() { # available PACKAGE: apt knows a version of it
    # Not grep -q: it leaves at the first hit, apt-cache gets SIGPIPE, and pipefail makes a failure of it.
    apt-cache policy "$1" 2>/dev/null | grep 'Candidate: [0-9]' >/dev/null
}

# The Boost package to install, or nothing when the headers that are there will do.
boost_package() {
    boost_headers_are_new_enough && return 0
    local name
    for name in "${BOOST_CANDIDATES[@]}"; do
        if available "$name"; then
            printf '%s\n' "$name"
            return 0
        fi
    done
    if available libboost-dev; then
        printf 'libboost-dev\n'
    fi
}

apt_get() {
    # Lock::Timeout: another apt (unattended-upgrades on a fresh machine) may hold the lock for minutes.
    DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 -o Acquire::Retries=3 -y -q "$@"
}

# install_missing PACKAGE...: installs only what is missing; without a network this is fine as long as nothing is.
install_missing() {
    local missing=() name
    for name in "$@"; do
        installed "$name" || missing+=("$name")
    done
    if [ "${#missing[@]}" -eq 0 ] && boost_headers_are_new_enough; then
        say "packages: all there"
        return 0
    fi
    need_debian_like
    if ! apt_get update >&2; then
        say "warning: apt-get update failed; trying with the package lists that are there"
    fi
    local boost
    boost="$(boost_package)"
    if ! boost_headers_are_new_enough; then
        [ -n "$boost" ] || die "no Boost >= 1.81 in the package lists (looked for ${BOOST_CANDIDATES[*]})"
        missing+=("$boost")
    fi
    say "packages: installing ${missing[*]}"
    apt_get install --no-install-recommends "${missing[@]}" >&2 ||
        die "apt-get could not install: ${missing[*]}. Is there a network, and a free disk? Try: apt-get install ${missing[*]}"
}

# install_graders: those that this machine's package lists know; what is missing is skipped by its tests, with the reason.
install_graders() {
    local known=() name
    for name in "${GRADER_PACKAGES[@]}"; do
        if installed "$name" || available "$name"; then
            known+=("$name")
        else
            say "note: no package $name here: the tests that use it are skipped"
        fi
    done
    [ "${#known[@]}" -eq 0 ] || install_missing "${known[@]}"
}

# why_not NAME WITH...: why apt can't install NAME beside WITH; nothing when it can.
why_not() {
    local plan code=0 removed
    if ! available "$1"; then
        printf 'apt has no package %s' "$1"
        if [ "$1" = chromium ]; then printf ' (on Ubuntu it is a snap, and snaps are outside /usr)'; fi
        return 0
    fi
    plan="$(LC_ALL=C apt-get -s install --no-install-recommends "$@" 2>&1)" || code=$?
    removed="$(sed -n 's/^Remv \([^ ]*\).*/\1/p' <<<"$plan" | tr '\n' ' ')"
    if [ "$code" -ne 0 ]; then
        printf 'apt: %s' "$(grep -E '^ .*: (Depends|Conflicts|Breaks|PreDepends)' <<<"$plan" | sed 's/  */ /g; s/^ //' | head -n 1 | grep . || tail -n 1 <<<"$plan")"
    elif [ -n "$removed" ]; then
        printf 'it would remove %s' "$removed" # a test is not worth a package that somebody installed
    fi
}

# apt_install_quietly LOG NAME...: starts no service and makes no database cluster. In a subshell for its trap.
apt_install_quietly() (
    local log="$1" policy=/usr/sbin/policy-rc.d cluster=/etc/postgresql-common/createcluster.d made=()
    shift
    trap '[ "${#made[@]}" -eq 0 ] || rm -f "${made[@]}"; rmdir "$cluster" 2>/dev/null || true' EXIT
    if [ ! -e "$policy" ]; then
        made+=("$policy")
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 0755 "$policy"
    fi
    mkdir -p "$cluster"
    made+=("$cluster/sandboxd-tests.conf")
    printf 'create_main_cluster = false\n' >"$cluster/sandboxd-tests.conf"
    LC_ALL=C apt_get install --no-install-recommends "$@" >>"$log" 2>&1
)

# install_workloads REASONS LOG: never fails; what could not be installed is in REASONS, one "PACKAGE<tab>WHY" per line.
install_workloads() {
    local reasons="$1" log="$2" entry name why wanted=() able=()
    : >"$reasons"
    : >"$log"
    for entry in "${WORKLOAD_PACKAGES[@]}"; do
        name="${entry%%:*}"
        installed "$name" && continue
        if [ "$entry" != "$name" ] && PATH="$SANDBOX_PATH" type -P "${entry#*:}" >/dev/null; then continue; fi
        wanted+=("$name")
    done
    if [ "${#wanted[@]}" -eq 0 ]; then
        say "packages of the workloads: all there"
        return 0
    fi
    if ! command -v apt-get >/dev/null; then
        printf '%s\tthere is no apt-get here to install it with\n' "${wanted[@]}" >"$reasons"
        return 0
    fi
    apt_get update >>"$log" 2>&1 || say "warning: apt-get update failed; trying with the package lists that are there"
    for name in "${wanted[@]}"; do
        why="$(why_not "$name" "${able[@]}")"
        if [ -z "$why" ]; then able+=("$name"); else printf '%s\t%s\n' "$name" "$why" >>"$reasons"; fi
    done
    if [ "${#able[@]}" -gt 0 ]; then
        say "packages of the workloads: installing ${able[*]}"
        # All at once is quickest; one that breaks must not take the others along.
        if ! apt_install_quietly "$log" "${able[@]}"; then
            for name in "${able[@]}"; do
                apt_install_quietly "$log" "$name" || printf '%s\tapt-get install failed: see %s\n' "$name" "$log" >>"$reasons"
            done
        fi
        grep -E '^(Need to get|After this operation|Fetched)' "$log" >&2 || true
    fi
    sed 's/^/not installed: /' "$reasons" >&2
}

# jobs: as many compilers as the memory carries (a translation unit with Beast takes about 1.2 GiB).
jobs_that_fit() {
    local cpus memory_mib by_memory
    cpus="$(nproc)"
    memory_mib="$(awk '/^MemAvailable:/ { print int($2 / 1024) }' /proc/meminfo)"
    by_memory=$((memory_mib / 1300))
    [ "$by_memory" -ge 1 ] || by_memory=1
    if [ "$cpus" -lt "$by_memory" ]; then echo "$cpus"; else echo "$by_memory"; fi
}

# build PRESET [TARGET...]: configures, builds. Configuring each time costs seconds and is needed: folders of tests are
# found by looking, so a folder that came with an update is not known to an older build folder.
build() {
    local preset="$1"
    shift
    mkdir -p build
    cmake --preset "$preset" >"build/$preset.configure.log" 2>&1 ||
        { tail -n 30 "build/$preset.configure.log" >&2; die "cmake --preset $preset failed (build/$preset.configure.log)"; }
    ninja -C "build/$preset" -j "$(jobs_that_fit)" "$@"
}
