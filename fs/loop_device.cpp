#include "fs/loop_device.hpp"

#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "fs/kernel.hpp"
#include "sandboxd/core/sys.hpp"

namespace sandboxd::fs {

namespace {

constexpr int kAttachAttempts = 32;
constexpr std::uint32_t kSectorBytes = 4096;  // of btrfs; the disk below then sees whole pages

Error no_loop(Error&& cause) {
    return Error{Errc::incompatible, "attach loop device",
                 cause.message() +
                     "; load the module with `modprobe loop`, or give a btrfs file system in the "
                     "setting pool.device"};
}

Result<bool> configure(int loop, int image, const std::string& path, std::uint32_t flags) {
    loop_config config{};
    config.fd = static_cast<std::uint32_t>(image);
    config.block_size = kSectorBytes;
    config.info.lo_flags = flags;
    const std::size_t length = std::min<std::size_t>(path.size(), LO_NAME_SIZE - 1);
    std::memcpy(static_cast<void*>(config.info.lo_file_name), path.data(), length);
    const auto bound = kernel::ioctl(loop, LOOP_CONFIGURE, &config, "LOOP_CONFIGURE");
    if (bound) return true;
    if (bound.error().is_errno(EBUSY)) return false;  // somebody else was quicker
    return bound.error();
}

}  // namespace

Result<std::optional<LoopDevice>> find_loop(dev_t image_device, ino_t image_inode) {
    auto names = kernel::list_dir("/sys/block");
    if (!names) return std::move(names).error();
    for (const std::string& name : *names) {
        if (!name.starts_with("loop") || !sys::exists("/sys/block/" + name + "/loop")) continue;
        auto device = sys::open("/dev/" + name, O_RDWR);
        if (!device) continue;  // without a node in /dev it is not one that we attached
        loop_info64 info{};
        // ENXIO: it was freed since.
        if (!kernel::ioctl(device->get(), LOOP_GET_STATUS64, &info, "LOOP_GET_STATUS64")) continue;
        if (info.lo_device == image_device && info.lo_inode == image_inode) {
            return std::optional<LoopDevice>{LoopDevice{"/dev/" + name, *std::move(device)}};
        }
    }
    return std::optional<LoopDevice>{};
}

Result<LoopDevice> attach_loop(int image, const std::string& image_path) {
    auto control = sys::open("/dev/loop-control", O_RDWR);
    if (!control) return no_loop(std::move(control).error());
    std::uint32_t flags = LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO;
    for (int attempt = 0; attempt < kAttachAttempts; ++attempt) {
        auto number = kernel::ioctl(control->get(), LOOP_CTL_GET_FREE, 0UL, "LOOP_CTL_GET_FREE");
        if (!number) return no_loop(std::move(number).error());
        LoopDevice loop{"/dev/loop" + std::to_string(*number), {}};
        auto device = sys::open(loop.path, O_RDWR);
        if (!device) return no_loop(std::move(device).error());
        loop.fd = *std::move(device);
        const auto bound = configure(loop.fd.get(), image, image_path, flags);
        if (bound && *bound) return loop;
        if (!bound && bound.error().is_errno(EINVAL) && (flags & LO_FLAGS_DIRECT_IO) != 0) {
            flags &= ~static_cast<std::uint32_t>(LO_FLAGS_DIRECT_IO);
        } else if (!bound) {
            return no_loop(Error{bound.error()});
        }
    }
    return Error{Errc::unavailable, "attach loop device", "every free device was taken meanwhile"};
}

}  // namespace sandboxd::fs
