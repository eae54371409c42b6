#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "sandboxd/core/result.hpp"

namespace sandboxd::fs {

// One line of /proc/self/mountinfo (proc_pid_mountinfo(5)), octal escapes decoded.
struct MountEntry {
    std::string device;  // "major:minor"
    std::string root;    // of the mount, inside its file system
    std::string point;   // where it is mounted
    std::string type;
    std::string source;
    bool operator==(const MountEntry&) const = default;
};

// Lines that can't be read are protocol_error: a table that is half understood must not decide what
// gets mounted.
[[nodiscard]] Result<std::vector<MountEntry>> parse_mount_table(std::string_view text);
[[nodiscard]] Result<std::vector<MountEntry>> read_mount_table();

// What a path walk to `point` would meet: the last one mounted there. Null when there is none.
[[nodiscard]] const MountEntry* find_mount(const std::vector<MountEntry>& table,
                                           std::string_view point) noexcept;

}  // namespace sandboxd::fs
