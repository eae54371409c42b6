#include "isolation/cgroup_folder.hpp"

#include <fcntl.h>

#include <cerrno>
#include <charconv>
#include <filesystem>

#include "sandboxd/core/sys.hpp"

namespace sandboxd::isolation {

Result<CgroupFolder> CgroupFolder::make(std::string path) {
    SBX_CHECK(sys::mkdirat(AT_FDCWD, path.c_str(), 0755));
    CgroupFolder folder{Fd{}, std::move(path)};
    SBX_TRY(folder.fd_, folder.open_dir());
    return folder;
}

Result<CgroupFolder> CgroupFolder::find(std::string path) {
    CgroupFolder folder{Fd{}, std::move(path)};
    SBX_TRY([[maybe_unused]] const Fd there, folder.open_dir());
    return folder;
}

Result<Fd> CgroupFolder::open_dir() const { return sys::open(path_, O_RDONLY | O_DIRECTORY | O_NOFOLLOW); }

bool CgroupFolder::has(const char* file) const {
    return static_cast<bool>(sys::statat(AT_FDCWD, at(file).c_str()));
}

Result<std::string> CgroupFolder::read(const char* file) const {
    SBX_TRY(std::string text, sys::read_file(at(file)));
    while (text.ends_with('\n')) text.pop_back();
    return text;
}

Result<void> CgroupFolder::write(const char* file, std::string_view value) const {
    return sys::write_control(at(file), value);
}

Result<void> CgroupFolder::apply(const ControlWrites& writes) const {
    for (const ControlWrite& item : writes) {
        auto written = write(item.file.c_str(), item.value);
        if (!written && !(item.optional && written.error().is_errno(ENOENT)))
            return std::move(written).error();
    }
    return {};
}

Result<Fd> CgroupFolder::open_tasks() const {
    return sys::open(at("tasks"), O_WRONLY);
}

Result<void> CgroupFolder::delegate_to(uid_t id) const {
    SBX_CHECK(sys::chownat(AT_FDCWD, path_.c_str(), id, id));
    for (const char* file : {"cgroup.procs", "cgroup.subtree_control", "cgroup.threads", "tasks"}) {
        auto given = sys::chownat(AT_FDCWD, at(file).c_str(), id, id);
        // Each version has its own two of the last three.
        if (!given && !given.error().is_errno(ENOENT)) return std::move(given).error();
    }
    return {};
}

Result<std::uint64_t> flat_key(std::string_view text, std::string_view key) {
    while (!text.empty()) {
        const std::string_view line = text.substr(0, text.find('\n'));
        if (line.size() > key.size() + 1 && line.starts_with(key) && line[key.size()] == ' ') {
            std::uint64_t value = 0;
            const char* end = line.data() + line.size();
            const auto parsed = std::from_chars(line.data() + key.size() + 1, end, value);
            if (parsed.ec == std::errc{} && parsed.ptr == end) return value;
        }
        text.remove_prefix(std::min(text.size(), line.size() + 1));
    }
    return Error{Errc::protocol_error, "read control file", "no number for " + std::string{key}};
}

Result<std::vector<std::string>> child_folders(const std::string& path) {
    std::vector<std::string> out;
    std::error_code error;
    std::filesystem::directory_iterator entries{path, error};
    for (; !error && entries != std::filesystem::directory_iterator{}; entries.increment(error)) {
        std::error_code ignored;  // a folder that went away meanwhile is none
        if (entries->is_directory(ignored)) out.push_back(entries->path().filename().string());
    }
    if (error) return errno_error(error.value(), "list", path);
    return out;
}

Result<void> remove_folders(const std::string& path) {
    auto removed = sys::unlinkat(AT_FDCWD, path.c_str(), AT_REMOVEDIR);
    if (removed || removed.error().is_errno(ENOENT)) return {};
    // cgroupfs says EBUSY both for processes and for groups below; only the latter can be helped.
    if (!removed.error().is_errno(EBUSY) && !removed.error().is_errno(ENOTEMPTY))
        return std::move(removed).error();
    SBX_TRY(const std::vector<std::string> below, child_folders(path));
    for (const std::string& name : below) SBX_CHECK(remove_folders(path + "/" + name));
    removed = sys::unlinkat(AT_FDCWD, path.c_str(), AT_REMOVEDIR);
    if (removed || removed.error().is_errno(ENOENT)) return {};
    return std::move(removed).error();
}

}  // namespace sandboxd::isolation
