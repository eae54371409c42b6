#pragma once

#include <sys/stat.h>

#include <cstdint>

#include "sandboxd/agent/protocol.hpp"

// Walks over trees that user code controls and may change meanwhile. Every step is by descriptor and follows no
// symlink; depth and counts are bounded.
namespace sandboxd::init {

[[nodiscard]] agent::FileInfo info_of(const struct stat& st);

// A file, a link, or an empty folder. False with errno; ENOENT when nothing was there.
bool remove_one(const char* path);
// The same, or a folder with all that is in it.
bool remove_tree(const char* path);

// Sends each entry below `folder` as a packet, then the end packet. Closes nothing.
void list_tree(int stream, int folder, std::uint32_t depth, std::uint32_t limit);

// An inotify descriptor for the folder (and those below it), -1 with errno.
int open_watch(const char* path, bool recursive);
// Sends events until the other end hangs up.
void stream_watch(int stream, int inotify);

}  // namespace sandboxd::init
