#pragma once

#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "sandboxd/core/clock.hpp"
#include "sandboxd/core/deadline.hpp"
#include "sandboxd/core/result.hpp"
#include "sandboxd/engine/exec.hpp"

namespace sandboxd::engine {

enum class FileKind { other, file, directory, symlink, fifo, socket, character, block };
[[nodiscard]] std::string_view to_string(FileKind kind) noexcept;

struct FileInfo {
    std::string path;     // absolute; relative to the folder in a listing
    FileKind kind{};
    std::uint32_t mode = 0;
    std::uint32_t uid = 0;
    std::uint32_t gid = 0;
    std::uint64_t size = 0;
    WallTime modified;
    std::string target;   // of a symlink
    std::uint64_t inode = 0;
};

// A regular file of the sandbox, opened for reading inside of it. The jail can change it meanwhile: size is a
// snapshot, reads may come short.
class FileReader {
public:
    virtual ~FileReader() = default;
    [[nodiscard]] virtual const FileInfo& info() const = 0;
    [[nodiscard]] virtual asio::awaitable<Result<std::size_t>> read(std::uint64_t offset, std::span<std::byte> buffer) = 0;
};

// A new file that replaces the target when committed; destroying it without commit leaves the target as it was.
class FileWriter {
public:
    virtual ~FileWriter() = default;
    [[nodiscard]] virtual asio::awaitable<Result<void>> write(std::span<const std::byte> data) = 0;  // disk_full at the quota
    [[nodiscard]] virtual asio::awaitable<Result<FileInfo>> commit(Deadline deadline) = 0;
    // Gives up, and completes when the disk has what was written back (at the latest at the deadline). Destroying it does
    // the same without waiting.
    [[nodiscard]] virtual asio::awaitable<void> discard(Deadline deadline) = 0;
};

// Entries one after another, as they are found.
class FileListing {
public:
    virtual ~FileListing() = default;
    // Nothing: the end; truncated() then says whether the limit cut it.
    [[nodiscard]] virtual asio::awaitable<Result<std::optional<FileInfo>>> next(Deadline deadline) = 0;
    [[nodiscard]] virtual bool truncated() const = 0;
};

enum class FileEventKind { create, write, remove, rename, chmod, overflow };
[[nodiscard]] std::string_view to_string(FileEventKind kind) noexcept;
struct FileEvent {
    FileEventKind kind{};
    std::string path;  // relative to the watched folder
};
class FileWatch {
public:
    virtual ~FileWatch() = default;
    [[nodiscard]] virtual asio::awaitable<Result<FileEvent>> next(Deadline deadline) = 0;
};

// The file system of a sandbox as `user` sees it. Every path is resolved inside the jail with that user's rights; a
// relative one starts at the user's home. not_found, forbidden, conflict (wrong kind), disk_full, invalid_argument.
class Files {
public:
    virtual ~Files() = default;
    [[nodiscard]] virtual asio::awaitable<Result<std::unique_ptr<FileReader>>> open(std::string path, User user, Deadline deadline) = 0;
    [[nodiscard]] virtual asio::awaitable<Result<std::unique_ptr<FileWriter>>> replace(std::string path, std::uint32_t mode, User user, Deadline deadline) = 0;
    [[nodiscard]] virtual asio::awaitable<Result<FileInfo>> stat(std::string path, User user, Deadline deadline) = 0;
    [[nodiscard]] virtual asio::awaitable<Result<std::unique_ptr<FileListing>>> list(std::string path, std::uint32_t depth, std::uint32_t limit, User user, Deadline deadline) = 0;
    [[nodiscard]] virtual asio::awaitable<Result<void>> remove(std::string path, User user, Deadline deadline) = 0;  // recursive
    [[nodiscard]] virtual asio::awaitable<Result<void>> make_directory(std::string path, std::uint32_t mode, User user, Deadline deadline) = 0;  // with parents
    [[nodiscard]] virtual asio::awaitable<Result<void>> rename(std::string from, std::string to, User user, Deadline deadline) = 0;
    [[nodiscard]] virtual asio::awaitable<Result<std::unique_ptr<FileWatch>>> watch(std::string path, bool recursive, User user, Deadline deadline) = 0;
};

}  // namespace sandboxd::engine
