#!/usr/bin/env bash
# From a clean clone to a running daemon and two programs run in sandboxes. As root on Debian 12/13 or Ubuntu 24.04.
#   scripts/quickstart.sh [--listen ADDR:PORT] [--state-dir DIR] [--no-run]
# A second call finds everything in place and takes a second or two. Stop the daemon with the command printed at the end.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib/packages.sh
. scripts/lib/packages.sh

listen=127.0.0.1:8090
state_dir=/var/lib/sandboxd
run_snippets=yes

usage() { sed -n '2,4s/^# \{0,1\}//p' "$0"; }

while [ $# -gt 0 ]; do
    case "$1" in
        --listen) listen="${2:?--listen needs ADDR:PORT}"; shift 2 ;;
        --state-dir) state_dir="${2:?--state-dir needs a folder}"; shift 2 ;;
        --no-run) run_snippets=no; shift ;;
        -h | --help) usage; exit 0 ;;
        *) usage >&2; die "unknown argument: $1" ;;
    esac
done

need_root
log="$state_dir/quickstart.log"
pid_file="$state_dir/quickstart.pid"
url="http://$listen"
bin=build/release/bin

ready() { [ "$(curl -s -o /dev/null -m 5 -w '%{http_code}' "$url/readyz" || true)" = 200 ]; }

# Who listens on the port, for a message that helps.
port_owner() {
    local port="${listen##*:}"
    (exec 3<>"/dev/tcp/${listen%:*}/$port") 2>/dev/null || return 0
    local owner
    owner="$(ss -H -ltnp "sport = :$port" 2>/dev/null | sed -n 's/.*users:((\("[^"]*"\),pid=\([0-9]*\).*/\1 (pid \2)/p' | head -n 1)"
    printf '%s\n' "${owner:-another program}"
}

# Ours: the process that our pid file names still is that program.
our_daemon_runs() {
    [ -r "$pid_file" ] && [ "$(readlink "/proc/$(cat "$pid_file")/exe" 2>/dev/null | sed 's/ (deleted)$//')" = "$PWD/$bin/sandboxd" ]
}

start_daemon() {
    if ready && [ -r "$state_dir/dev.key" ]; then
        say "a daemon already answers at $url: using it"
        return 0
    fi
    if ! our_daemon_runs; then
        local owner
        owner="$(port_owner)"
        [ -z "$owner" ] || die "$listen is in use by $owner, which is no sandboxd of $state_dir." \
            "Stop it, or choose another address: $0 --listen 127.0.0.1:8091 --state-dir /var/lib/sandboxd-2"
        mkdir -p "$state_dir"
        # A session of its own: it outlives this shell.
        setsid "$PWD/$bin/sandboxd" --dev --listen "$listen" --state-dir "$state_dir" >>"$log" 2>&1 </dev/null &
        echo $! >"$pid_file"
    fi
    local waited=0
    until ready; do
        kill -0 "$(cat "$pid_file")" 2>/dev/null || { tail -n 30 "$log" >&2; die "sandboxd ended while starting; its log is above and in $log"; }
        [ "$waited" -lt 300 ] || { tail -n 30 "$log" >&2; die "sandboxd is not ready after 30 s; its log is above and in $log"; }
        sleep 0.1 # polls the state
        waited=$((waited + 1))
    done
    say "sandboxd is ready at $url (pid $(cat "$pid_file"), log $log)"
}

snippet() { # snippet TITLE LANGUAGE CODE
    printf '\n-- %s\n' "$1"
    "$bin/sandboxctl" run -l "$2" --cost -c "$3"
}

step "Packages"
install_missing "${BUILD_PACKAGES[@]}" "${RUN_PACKAGES[@]}"

step "Build (release preset; the first time takes some minutes)"
mkdir -p build
build release

step "Daemon"
start_daemon
export SANDBOXD_URL="$url"
SANDBOXD_API_KEY="$(cat "$state_dir/dev.key")"
export SANDBOXD_API_KEY

if [ "$run_snippets" = yes ]; then
    step "Two programs, each in a fresh sandbox"
    snippet "Python, output as it comes" python \
        'import os, time
for i in range(3):
    print(f"step {i}: pid {os.getpid()}, uid {os.getuid()}, host name {os.uname().nodename}", flush=True)
    time.sleep(0.3)'
    # shellcheck disable=SC2016 # expands inside of the sandbox
    snippet "A shell: no network, and no way out" bash \
        'echo "processes I can see: $(ls -d /proc/[0-9]* | wc -l)"
for i in 1 2 3; do echo "tick $i"; sleep 0.2; done
(exec 3<>/dev/tcp/1.1.1.1/80) 2>/dev/null && echo "network!" || echo "no network, as asked"'
fi

key_hint=""
[ "$state_dir" = /var/lib/sandboxd ] || key_hint=" --state-dir $state_dir"
cat <<END

== Next
  $bin/sandboxctl --url $url$key_hint run -l python -c 'print(6 * 7)'
  curl -s $url/v1/run -H "Authorization: Bearer \$(cat $state_dir/dev.key)" -d '{"language":"bash","code":"id; uname -a"}'
  id=\$($bin/sandboxctl --url $url$key_hint --json create | sed -n 's/.*"id": *"\([a-z0-9]*\)".*/\1/p') && $bin/sandboxctl --url $url$key_hint exec -it "\$id" -- bash
Stop it: kill \$(cat $pid_file)      API: docs/api.md      Production: docs/operations.md
END
