#!/bin/bash
# PID 1 of the guest. The machine as a distribution with systemd leaves it: pure cgroup v2 with nsdelegate, shared mounts,
# controllers handed down at the top, and what runs in a group of its own.
export PATH=/usr/sbin:/usr/bin HOME=/root LANG=C.UTF-8 PYTHONDONTWRITEBYTECODE=1
here="$(dirname "${BASH_SOURCE[0]}")"

set -e
mount -t proc -o nosuid,nodev,noexec proc /proc
mount -t sysfs -o nosuid,nodev,noexec sysfs /sys
mkdir -p /dev/pts /dev/shm
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o nosuid,nodev tmpfs /dev/shm
mount -t tmpfs -o nosuid,nodev,mode=755 tmpfs /run
mount -t cgroup2 -o nosuid,nodev,noexec,nsdelegate cgroup2 /sys/fs/cgroup
mount --make-rshared /
swapon /dev/vdb
busybox ip link set lo up
busybox hostname guest
echo "+cpu +io +memory +pids" >/sys/fs/cgroup/cgroup.subtree_control
mkdir -p /sys/fs/cgroup/system.slice/suite.service
echo 0 >/sys/fs/cgroup/system.slice/suite.service/cgroup.procs
set +e

if grep -q sandboxd.shell /proc/cmdline; then
    echo "a shell in the guest; what the suites run stands in /guest/plan.json; leave with: exit"
    setsid -c bash -l </dev/ttyS0 >/dev/ttyS0 2>&1
else
    /usr/bin/python3 "$here/suites.py" /guest/plan.json /dev/ttyS1
fi
sync
busybox poweroff -f
