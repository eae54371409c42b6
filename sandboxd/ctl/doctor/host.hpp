#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "sandboxd/core/result.hpp"

namespace sandboxd::ctl::doctor {

enum class CoreScheduling { available, not_needed, missing };  // not needed: no SMT

// What only a system call tells. Tests put values in.
struct Probes {
    bool root = false;
    std::string kernel_release;       // uname -r
    std::optional<int> landlock_abi;  // nothing: this kernel has no Landlock
    CoreScheduling core_scheduling = CoreScheduling::missing;
    std::function<Result<void>()>
        id_mapped_mount;  // of the root file system; asked for as root only
    std::function<std::optional<std::uint64_t>(const std::string&)>
        free_bytes;  // on the file system of a path
};
[[nodiscard]] Probes live_probes();

// The files of a host below a folder: "/" for this one, fixtures in tests. A value.
class Host {
public:
    Host(std::string root, Probes probes) : root_{std::move(root)}, probes_{std::move(probes)} {}

    // Without blanks at its end; nothing when it can't be read.
    [[nodiscard]] std::optional<std::string> read(const std::string& path) const;
    [[nodiscard]] bool exists(const std::string& path) const;
    [[nodiscard]] std::optional<std::uint64_t> number(const std::string& path) const;
    [[nodiscard]] std::vector<std::string> list(const std::string& folder) const;  // names, sorted
    [[nodiscard]] const Probes& probes() const noexcept { return probes_; }

    // Derived from the files.
    [[nodiscard]] bool has_file_system(const std::string& name) const;  // in the kernel now
    [[nodiscard]] bool has_module(const std::string& name) const;  // built in, or could be loaded
    [[nodiscard]] bool has_loadable_module(const std::string& name) const;
    [[nodiscard]] std::optional<std::string> find_program(const std::string& name) const;

private:
    std::string root_;
    Probes probes_;
};

}  // namespace sandboxd::ctl::doctor
