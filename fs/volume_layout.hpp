#pragma once

#include <cstdint>
#include <string>

#include "sandboxd/core/result.hpp"

namespace sandboxd::fs {

// The smallest volume: btrfs needs some nodes for an empty overlay.
inline constexpr std::uint64_t kMinVolumeBytes = 1ULL << 20U;
[[nodiscard]] Result<void> check_volume_bytes(std::uint64_t bytes);

// Makes the folders of an overlay in the empty volume at `path`: "u" (0755: it is the root folder
// that the jail sees) and "w", in a root that only its owner enters. All owned by 0, which an
// id-mapped mount turns into the jail's root.
[[nodiscard]] Result<void> lay_out_volume(const std::string& path);
// Gives a copy an empty "w": overlayfs refuses the work folder of an overlay that is mounted
// elsewhere or was mounted volatile, and what is half done in it is no part of the copy.
// Only where has_clean_work_folder() says no: the first write to a copy costs as much as its source
// has extents in the same leaf.
[[nodiscard]] Result<bool> has_clean_work_folder(const std::string& path);
[[nodiscard]] Result<void> reset_work_folder(const std::string& path);

}  // namespace sandboxd::fs
