#include "sandboxd/ctl/doctor/host.hpp"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <sstream>

#include "sandboxd/core/sys.hpp"

namespace sandboxd::ctl::doctor {

namespace {
// Of pseudo files, which have no size: more than any of those that are read here.
constexpr std::size_t kFileMax = std::size_t{16} << 20;
}  // namespace

std::optional<std::string> Host::read(const std::string& path) const {
    auto text = sys::read_file(root_ + path, kFileMax);
    if (!text) return std::nullopt;
    text->erase(text->find_last_not_of(" \t\r\n") + 1);
    return *std::move(text);
}

bool Host::exists(const std::string& path) const {
    return sys::exists(root_ + path);
}

std::optional<std::uint64_t> Host::number(const std::string& path) const {
    const auto text = read(path);
    if (!text) return std::nullopt;
    std::uint64_t value = 0;
    const auto [end, code] = std::from_chars(text->data(), text->data() + text->size(), value);
    if (code != std::errc{} || end != text->data() + text->size()) return std::nullopt;
    return value;
}

std::vector<std::string> Host::list(const std::string& folder) const {
    std::vector<std::string> names;
    std::error_code code;
    for (std::filesystem::directory_iterator at{root_ + folder, code};
         !code && at != std::filesystem::directory_iterator{}; at.increment(code)) {
        names.push_back(at->path().filename().string());
    }
    std::sort(names.begin(), names.end());
    return names;
}

bool Host::has_file_system(const std::string& name) const {
    const std::string text = '\n' + read("/proc/filesystems").value_or("") + '\n';
    return text.find('\t' + name + '\n') != std::string::npos;
}

bool Host::has_module(const std::string& name) const {
    const std::string text =
        read("/lib/modules/" + probes_.kernel_release + "/modules.builtin").value_or("");
    return text.find('/' + name + ".ko") != std::string::npos || has_loadable_module(name);
}

bool Host::has_loadable_module(const std::string& name) const {
    const std::string text =
        read("/lib/modules/" + probes_.kernel_release + "/modules.dep").value_or("");
    // At the begin of a line, not among what another one needs; compressed ones have another ending
    // behind it.
    const std::string wanted = '/' + name + ".ko";
    std::istringstream lines{text};
    for (std::string line; std::getline(lines, line);) {
        if (line.substr(0, line.find(':')).find(wanted) != std::string::npos) return true;
    }
    return false;
}

std::optional<std::string> Host::find_program(const std::string& name) const {
    for (const char* folder : {"/usr/sbin/", "/usr/bin/", "/sbin/", "/bin/"}) {
        if (exists(folder + name)) return folder + name;
    }
    return std::nullopt;
}

}  // namespace sandboxd::ctl::doctor
