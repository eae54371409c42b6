#pragma once

#include <string_view>

#include "fs/tree.hpp"
#include "sandboxd/core/result.hpp"

namespace sandboxd::fs {

// Whether a name at the top of the host's /etc is one that programs below /usr need. An allow-list:
// what nobody thought of stays out.
[[nodiscard]] bool is_wanted_etc_name(std::string_view name) noexcept;
// Names that stay out wherever they stand, whatever their mode.
[[nodiscard]] bool is_secret_name(std::string_view name) noexcept;

// Adds to `tree`, below "etc/", what the host's /etc (the folder `etc`) has of the allow-list:
// folders and regular files that everybody on the host may read, and links as links, never
// followed. Owners become 0, modes lose what others could write. Files may change meanwhile: each
// is read through one descriptor whose kind and mode are checked after it is open.
// payload_too_large past 64 MiB or 20,000 files in all; a single file over 4 MiB is left out.
[[nodiscard]] Result<void> add_host_etc(int etc, Tree& tree);
// The same for the files of one folder of it, into `target`, owned by `owner`: /etc/skel.
[[nodiscard]] Result<void> add_folder(int etc, const char* name, const std::string& target,
                                      uid_t owner, Tree& tree);

}  // namespace sandboxd::fs
