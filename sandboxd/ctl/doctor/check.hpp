#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace sandboxd::ctl::doctor {

// fail: sandboxd can't run here, or a limit could not be enforced. warn: it runs, but a wall or a
// feature is missing. info: worth knowing. skipped: could not be looked at.
enum class Severity { ok, info, skipped, warn, fail };
[[nodiscard]] std::string_view to_string(Severity severity) noexcept;

struct Check {
    std::string name;  // stable, snake_case with dots: "kernel.version"
    Severity severity = Severity::ok;
    std::string finding;  // what is there
    std::string cure;     // what to do; empty when nothing has to be done
    bool operator==(const Check&) const = default;
};
using Checks = std::vector<Check>;

}  // namespace sandboxd::ctl::doctor
