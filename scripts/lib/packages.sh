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
readonly TEST_PACKAGES=(catch2 python3-aiohttp iproute2 shellcheck)
# Graders of the attack suite: what can't be installed is a skip with its reason, no failure.
readonly GRADER_PACKAGES=(stress-ng trinity)
readonly BENCH_PACKAGES=(bubblewrap crun runc socat)

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
    apt-cache policy "$1" 2>/dev/null | grep -q 'Candidate: [0-9]'
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
