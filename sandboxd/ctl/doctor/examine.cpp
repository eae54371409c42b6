#include "sandboxd/ctl/doctor/examine.hpp"

#include <algorithm>

namespace sandboxd::ctl::doctor {

std::string_view to_string(Severity severity) noexcept {
    switch (severity) {
        case Severity::ok:
            return "ok";
        case Severity::info:
            return "info";
        case Severity::skipped:
            return "skipped";
        case Severity::warn:
            return "warn";
        case Severity::fail:
            return "fail";
    }
    return "fail";
}

Severity worst(const Checks& checks) noexcept {
    Severity severity = Severity::ok;
    for (const Check& check : checks) severity = std::max(severity, check.severity);
    return severity;
}

Checks examine(const Host& host, const std::string& state_dir) {
    Checks checks;
    check_kernel(host, checks);
    check_cgroups(host, checks);
    check_storage(host, state_dir, checks);
    check_sysctls(host, checks);
    check_modules(host, checks);
    check_hardware(host, checks);
    check_capacity(host, checks);
    return checks;
}

}  // namespace sandboxd::ctl::doctor
