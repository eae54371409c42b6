#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "sandboxd/core/fd.hpp"
#include "sandboxd/core/result.hpp"

// System calls that only this folder needs, in the manner of sandboxd/core/sys.hpp: a Result each,
// EINTR retried, descriptors CLOEXEC, errors name the call and the object.
namespace sandboxd::fs::kernel {

// The return value. `name` is the request's name, for the error.
[[nodiscard]] Result<int> ioctl(int fd, unsigned long request, void* argument, const char* name);
[[nodiscard]] Result<int> ioctl(int fd, unsigned long request, unsigned long value,
                                const char* name);

// Takes the write lock of the whole file for this open file description; false when another has it.
// An OFD lock: it goes when the descriptor is closed, also by a crash, and never meets flock(2).
[[nodiscard]] Result<bool> try_lock(int fd);

[[nodiscard]] Result<void> ftruncate(int fd, std::uint64_t size);
[[nodiscard]] Result<void> fsync(int fd);
[[nodiscard]] Result<void> syncfs(int fd);
[[nodiscard]] Result<void> fchmod(int fd, mode_t mode);
// Fewer bytes than asked for only at the end of the file.
[[nodiscard]] Result<std::size_t> pread(int fd, std::span<std::byte> out, std::uint64_t offset);

struct Space {
    std::uint64_t total_bytes = 0;
    std::uint64_t free_bytes = 0;  // what an ordinary user may still take
    std::uint64_t used_bytes = 0;
    std::uint64_t magic = 0;  // f_type
};
[[nodiscard]] Result<Space> space(const std::string& path);

// The names in a folder, sorted, without "." and "..".
[[nodiscard]] Result<std::vector<std::string>> list_dir(int dir);
[[nodiscard]] Result<std::vector<std::string>> list_dir(const std::string& path);
[[nodiscard]] Result<std::string> readlinkat(int dir, const char* path);
[[nodiscard]] Result<void> symlinkat(const char* target, int dir, const char* path);
// The absolute path without links; the file must exist.
[[nodiscard]] Result<std::string> real_path(const std::string& path);
// Removes a tree of our own making, across no mount point; a missing one is fine. Never for a tree
// that a tenant can change meanwhile.
[[nodiscard]] Result<void> remove_tree(const std::string& path);

}  // namespace sandboxd::fs::kernel
