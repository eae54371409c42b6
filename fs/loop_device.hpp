#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "sandboxd/core/fd.hpp"
#include "sandboxd/core/result.hpp"

namespace sandboxd::fs {

// A loop device that is bound to an image. It frees itself (autoclear) once nothing has it open or
// mounted: keep `fd` until the mount is made, then drop it, and even a crash leaves no device.
struct LoopDevice {
    std::string path;  // "/dev/loop3"
    Fd fd;
};

// The device that has this very file (by device and inode) as its image, if one has. Looking first
// is a must: a second device over an image whose file system is still alive would corrupt it.
[[nodiscard]] Result<std::optional<LoopDevice>> find_loop(dev_t image_device, ino_t image_inode);

// Binds a free device to the image, with direct I/O where the disk allows it (no page of a
// sandbox's disk is then cached twice). `image` must be open for reading and writing. incompatible
// where the host has no loop devices; the message names the cure.
[[nodiscard]] Result<LoopDevice> attach_loop(int image, const std::string& image_path);

}  // namespace sandboxd::fs
