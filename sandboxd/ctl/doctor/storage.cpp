#include "sandboxd/ctl/doctor/examine.hpp"
#include "sandboxd/ctl/units.hpp"

namespace sandboxd::ctl::doctor {

namespace {

constexpr std::uint64_t kLeastDisk = std::uint64_t{1}
                                     << 30;  // a pool can be made: 3/4 of it, and a reserve
constexpr std::uint64_t kUsefulDisk = std::uint64_t{10} << 30;  // ten sandboxes of the default size

Check check_file_system(const Host& host, const std::string& name, Severity without,
                        std::string cure) {
    const std::string check = "storage." + name;
    if (host.has_file_system(name)) return {check, Severity::ok, "in the kernel", ""};
    if (host.has_module(name))
        return {check, Severity::ok, "as a module that is loaded when it is used", ""};
    return {check, without, "missing", std::move(cure)};
}

Check check_id_mapped_mounts(const Probes& probes) {
    const std::string name = "storage.id_mapped_mounts";
    if (!probes.root)
        return {name, Severity::skipped, "only root can try", "sudo sandboxctl doctor"};
    if (!probes.id_mapped_mount) return {name, Severity::skipped, "not tried", ""};
    const auto tried = probes.id_mapped_mount();
    if (tried) return {name, Severity::ok, "work on the root file system", ""};
    return {name, Severity::fail, tried.error().message(),
            "the root file system has to support them: ext4, XFS or btrfs on Linux 5.15 and newer "
            "does"};
}

Check check_space(const Host& host, const std::string& state_dir) {
    const auto free = host.probes().free_bytes ? host.probes().free_bytes(state_dir) : std::nullopt;
    if (!free) return {"storage.space", Severity::skipped, state_dir + ": could not be asked", ""};
    const std::string finding = format_bytes(*free) + " free for " + state_dir;
    if (*free < kLeastDisk)
        return {"storage.space", Severity::fail, finding,
                "at least 1 GiB is needed: make room, or use another --state-dir"};
    if (*free < kUsefulDisk)
        return {"storage.space", Severity::warn, finding,
                "a sandbox may use 1 GiB unless its limits say otherwise"};
    return {"storage.space", Severity::ok, finding, ""};
}

}  // namespace

void check_storage(const Host& host, const std::string& state_dir, Checks& checks) {
    const std::string fallback = "without it disks of sandboxes are in memory";
    checks.push_back(
        check_file_system(host, "overlay", Severity::fail, "use a kernel with CONFIG_OVERLAY_FS"));
    checks.push_back(check_file_system(host, "btrfs", Severity::warn,
                                       fallback + ": use a kernel with CONFIG_BTRFS_FS"));
    if (const auto mkfs = host.find_program("mkfs.btrfs")) {
        checks.push_back({"storage.mkfs_btrfs", Severity::ok, *mkfs, ""});
    } else {
        checks.push_back(
            {"storage.mkfs_btrfs", Severity::warn, "missing", fallback + ": install btrfs-progs"});
    }
    if (host.exists("/dev/loop-control")) {
        checks.push_back({"storage.loop", Severity::ok, "/dev/loop-control", ""});
    } else if (host.has_module("loop")) {
        checks.push_back({"storage.loop", Severity::warn, "/dev/loop-control is missing",
                          fallback + ": modprobe loop"});
    } else {
        checks.push_back({"storage.loop", Severity::warn, "missing",
                          fallback + ": give the configuration a btrfs pool_device"});
    }
    checks.push_back(check_id_mapped_mounts(host.probes()));
    checks.push_back(check_space(host, state_dir));
}

}  // namespace sandboxd::ctl::doctor
