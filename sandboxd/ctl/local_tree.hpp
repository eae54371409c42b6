#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "sandboxd/core/fd.hpp"
#include "sandboxd/core/result.hpp"

namespace sandboxd::ctl {

enum class LocalKind { file, directory, symlink, other };

struct LocalEntry {
    std::string path;  // relative to the tree's root; empty for the root
    LocalKind kind = LocalKind::other;
    std::uint32_t mode = 0;
    std::uint64_t size = 0;
    std::string target;  // of a symlink
};

// A file or folder and all that is in it, folders before what is in them. Symlinks are entries, not
// followed, but for the root itself.
[[nodiscard]] Result<std::vector<LocalEntry>> walk(const std::string& root);

// A folder that is filled with what a sandbox named. No name leads out of it: each part is opened
// below the one before, without following a symlink, and ".." is refused. Files that exist are
// replaced.
class LocalFolder {
public:
    // Makes the folder, in a parent that exists, unless it is there.
    [[nodiscard]] static Result<LocalFolder> open(const std::string& path);

    [[nodiscard]] Result<void> make_directory(const std::string& path, std::uint32_t mode);
    // The file is replaced, never written through: what stood under the name goes.
    [[nodiscard]] Result<Fd> create(const std::string& path, std::uint32_t mode);
    [[nodiscard]] Result<void> make_symlink(const std::string& path, const std::string& target);

private:
    explicit LocalFolder(Fd root) : root_{std::move(root)} {}
    struct Place {
        Fd folder;
        std::string name;
    };
    // Where an entry belongs; the folders above it are made.
    [[nodiscard]] Result<Place> place_of(const std::string& path);
    Fd root_;
};

}  // namespace sandboxd::ctl
