#pragma once

#include <string>

#include "sandboxd/ctl/doctor/check.hpp"
#include "sandboxd/ctl/doctor/host.hpp"

namespace sandboxd::ctl::doctor {

// Looks at all that sandboxd builds on. Changes nothing on the host.
[[nodiscard]] Checks examine(const Host& host, const std::string& state_dir);

// Its parts; each appends.
void check_kernel(const Host& host, Checks& checks);   // version, namespaces, seccomp, Landlock
void check_cgroups(const Host& host, Checks& checks);  // mode, controllers, kill and freeze
void check_storage(const Host& host, const std::string& state_dir,
                   Checks& checks);  // btrfs, overlay, loop, id-mapped mounts, space
void check_sysctls(const Host& host,
                   Checks& checks);  // what makes the kernel smaller for an attacker
void check_hardware(const Host& host,
                    Checks& checks);  // swap, KSM, SMT, core scheduling, CPU leaks, core dumps
void check_modules(const Host& host, Checks& checks);  // doors that a socket opens
void check_capacity(const Host& host,
                    Checks& checks);  // memory, host-wide quotas, the daemon's user

// The worst of them, ok for none.
[[nodiscard]] Severity worst(const Checks& checks) noexcept;

}  // namespace sandboxd::ctl::doctor
