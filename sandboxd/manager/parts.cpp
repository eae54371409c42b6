#include "sandboxd/manager/parts.hpp"

#include <fcntl.h>

#include "sandboxd/core/log.hpp"
#include "sandboxd/core/sys.hpp"

namespace sandboxd::manager {

namespace {

// By policies::Profile. All of them at start: a wrong one must not be found out by a sandbox.
Result<std::array<isolation::SeccompFilters, policies::kProfiles>> compile_profiles(const ManagerConfig& config) {
    const bool noted = isolation::can_note_refusals();
    if (!noted) log::warn("refused system calls are not told in denials: a filter of the daemon's own surroundings has the listener", {});
    const std::array<const std::string*, policies::kProfiles> texts{&config.seccomp_strict, &config.seccomp_profile, &config.seccomp_debug};
    std::array<isolation::SeccompFilters, policies::kProfiles> out;
    for (std::size_t i = 0; i < texts.size(); ++i) {
        auto compiled = isolation::compile_seccomp(*texts[i], noted ? isolation::Refusals::noted : isolation::Refusals::silent);
        if (!compiled) return std::move(compiled).error().with("profile " + std::string{policies::to_string(static_cast<policies::Profile>(i))});
        out[i] = *std::move(compiled);
    }
    return out;
}

}  // namespace

Result<Parts> open_parts(const ManagerConfig& config) {
    SBX_CHECK(sys::ensure_dir(config.state_dir + "/agents", 0700));
    SBX_TRY(Fd agent_dir, sys::open(config.state_dir + "/agents", O_RDONLY | O_DIRECTORY));
    SBX_TRY(StateDirectory states, StateDirectory::open(config.state_dir));
    SBX_TRY(IdBlocks ids, IdBlocks::claim(config.state_dir));
    SBX_TRY(auto seccomp, compile_profiles(config));

    SBX_TRY(Fd cpu_info, read_cpu_info());
    isolation::HiddenProgram sudo;
    if (config.sudo_client.valid()) {
        SBX_TRY(sudo, isolation::hide_program(config.sudo_client.get()));
    }

    isolation::CgroupConfig cgroup_config;
    cgroup_config.root_name = "sandboxd-" + config.instance;
    cgroup_config.parent = config.cgroup_parent;
    cgroup_config.allow_missing = config.unsafe_missing_controllers;
    SBX_TRY(auto cgroups, isolation::make_cgroup_driver(cgroup_config));

    fs::PoolConfig pool_config;
    pool_config.state_dir = config.state_dir;
    pool_config.image_bytes = config.pool_bytes;
    pool_config.device = config.pool_device;
    pool_config.allow_tmpfs = config.pool_tmpfs;
    // The mount comes last: nothing after it can fail before the Manager is there to undo it.
    SBX_TRY(auto templates, fs::TemplateStore::open(config.state_dir));
    auto pool = fs::Pool::open(pool_config);
    if (!pool) {
        (void)cgroups->remove_root();  // refused, rightly, while sandboxes of a predecessor live in it
        return std::move(pool).error();
    }

    return Parts{std::move(agent_dir), *std::move(pool), std::move(templates), std::move(cgroups), std::move(seccomp),
                 std::move(states), std::move(ids), std::move(cpu_info), std::move(sudo)};
}

}  // namespace sandboxd::manager
