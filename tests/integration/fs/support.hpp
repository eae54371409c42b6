#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "fs/pool.hpp"
#include "sandboxd/core/fd.hpp"

namespace sandboxd::fs::test {

inline constexpr std::uint64_t kMiB = 1ULL << 20U;
inline constexpr std::uint64_t kImageBytes = 768 * kMiB;

// A fresh folder, unmounted and removed at the end.
class StateDir {
public:
    StateDir();
    ~StateDir();
    StateDir(const StateDir&) = delete;
    StateDir& operator=(const StateDir&) = delete;

    [[nodiscard]] const std::string& path() const noexcept { return path_; }
    [[nodiscard]] PoolConfig config() const;
    [[nodiscard]] std::unique_ptr<Pool> open() const;

private:
    std::string path_;
};

// An overlay of an empty lower over a volume, as this process's root.
class Overlay {
public:
    Overlay(const StateDir& state, const std::string& volume, const std::string& name);
    ~Overlay();
    Overlay(const Overlay&) = delete;
    Overlay& operator=(const Overlay&) = delete;
    [[nodiscard]] const std::string& path() const noexcept { return path_; }

private:
    std::string path_;
};

struct Written {
    std::uint64_t bytes = 0;
    int error = 0;  // of the write that failed
};
// Appends until `bytes` are written or a write fails; O_SYNC writes are on the disk.
enum class Sync { no, yes };
Written append(const std::string& file, std::uint64_t bytes, Sync sync = Sync::no);

std::string read_text(const std::string& path);
void write_text(const std::string& path, std::string_view text);

// The loop devices whose image is this file: what the kernel has, not what our code says.
std::vector<std::string> loops_of(const std::string& image);
[[nodiscard]] bool is_mounted(const std::string& point);
std::size_t open_descriptors();
// How many level-0 qgroups of subvolumes there are.
std::size_t qgroup_count(const std::string& pool);
// Commits, wakes the cleaner and waits until `done` or for 30 s.
bool settle(const std::string& pool, const std::function<bool()>& done);

}  // namespace sandboxd::fs::test
