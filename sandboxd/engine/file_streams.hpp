#pragma once

#include <memory>

#include "sandboxd/agent/protocol.hpp"
#include "sandboxd/core/fd.hpp"
#include "sandboxd/engine/files.hpp"
#include "sandboxd/engine/io_pools.hpp"

namespace sandboxd::engine {

// What the agent says about a file, as ours. Strings are copied.
[[nodiscard]] FileInfo file_info(const agent::FileInfo& info);
// The same with what the descriptor itself tells in place of what the jail said.
[[nodiscard]] Result<FileInfo> file_info(const agent::FileInfo& info, const Fd& fd);

// Objects over descriptors that came from a jail and were checked.
[[nodiscard]] std::unique_ptr<FileReader> make_file_reader(IoPools& pools, Fd file, FileInfo info);
[[nodiscard]] std::unique_ptr<FileWriter> make_file_writer(IoPools& pools, Fd file, Fd session, FileInfo info);
[[nodiscard]] std::unique_ptr<FileListing> make_file_listing(Fd stream);
[[nodiscard]] std::unique_ptr<FileWatch> make_file_watch(Fd stream);

}  // namespace sandboxd::engine
