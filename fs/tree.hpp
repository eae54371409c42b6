#pragma once

#include <sys/types.h>

#include <map>
#include <string>

#include "sandboxd/core/result.hpp"

namespace sandboxd::fs {

enum class NodeKind { folder, file, link };

// One file of a tree that is described before it is written.
struct Node {
    NodeKind kind = NodeKind::folder;
    mode_t mode = 0755;   // links have none of their own
    uid_t owner = 0;      // also the group
    std::string content;  // a file's bytes, a link's target
    bool operator==(const Node&) const = default;
};

// By path, relative to the root and without "." or ".."; "" is the root. Sorted, so a folder stands
// before what is in it.
using Tree = std::map<std::string, Node>;

// 32 hex digits of SHA-256 over everything in it: equal trees, equal names.
[[nodiscard]] std::string fingerprint(const Tree& tree);

// Makes `path`, which must not exist, with exactly this tree. On failure parts of it are left.
[[nodiscard]] Result<void> write_tree(const Tree& tree, const std::string& path);

// Whether `path` holds exactly this tree: names, kinds, modes, owners and bytes; nothing more.
[[nodiscard]] Result<bool> holds_tree(const std::string& path, const Tree& tree);

}  // namespace sandboxd::fs
