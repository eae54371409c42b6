#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "isolation/cgroup_limits.hpp"
#include "sandboxd/core/fd.hpp"
#include "sandboxd/core/result.hpp"

namespace sandboxd::isolation {

// One folder of a cgroup file system, by its path, which nobody but the daemon can rename. A descriptor of it is open
// from make() until release(): a daemon with thousands of sandboxes can't hold one for each of their folders.
class CgroupFolder {
public:
    CgroupFolder() noexcept = default;
    // conflict when it exists.
    [[nodiscard]] static Result<CgroupFolder> make(std::string path);
    // Without a descriptor. ENOENT (errno) when it is not there.
    [[nodiscard]] static Result<CgroupFolder> find(std::string path);

    [[nodiscard]] bool valid() const noexcept { return !path_.empty(); }
    [[nodiscard]] int fd() const noexcept { return fd_.get(); }  // -1 after release() and from find()
    [[nodiscard]] Result<Fd> open_dir() const;
    void release() noexcept { fd_.reset(); }
    [[nodiscard]] const std::string& path() const noexcept { return path_; }

    [[nodiscard]] bool has(const char* file) const;
    [[nodiscard]] Result<std::string> read(const char* file) const;  // without the last newline
    [[nodiscard]] Result<void> write(const char* file, std::string_view value) const;
    [[nodiscard]] Result<void> apply(const ControlWrites& writes) const;
    [[nodiscard]] Result<Fd> open_tasks() const;  // v1, for writing
    // Lets `id` make groups below and move its own processes among them; limits stay root's.
    [[nodiscard]] Result<void> delegate_to(uid_t id) const;

private:
    [[nodiscard]] std::string at(const char* file) const { return path_ + '/' + file; }
    CgroupFolder(Fd fd, std::string path) : fd_{std::move(fd)}, path_{std::move(path)} {}
    Fd fd_;
    std::string path_;
};

// A key of a flat-keyed file ("populated 1"); protocol_error when it is not there.
[[nodiscard]] Result<std::uint64_t> flat_key(std::string_view text, std::string_view key);

[[nodiscard]] Result<std::vector<std::string>> child_folders(const std::string& path);
// rmdir of the folder and of all below it, leaves first. Gone already: ok. EBUSY (errno) while a
// process is left.
[[nodiscard]] Result<void> remove_folders(const std::string& path);

}  // namespace sandboxd::isolation
