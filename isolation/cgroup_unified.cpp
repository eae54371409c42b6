#include "isolation/cgroup_unified.hpp"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "sandboxd/core/deadline.hpp"
#include "sandboxd/core/sys.hpp"

namespace sandboxd::isolation {

namespace {

constexpr std::chrono::seconds kFreezePatience{2};
constexpr std::size_t kMaxName = 128;

bool plain(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
}

}  // namespace

Result<void> check_group_name(const std::string& name) {
    const bool ok =
        !name.empty() && name.size() <= kMaxName && plain(name.front()) &&
        std::all_of(name.begin(), name.end(), [](char c) { return plain(c) || c == '.'; });
    if (!ok) return Error{Errc::invalid_argument, "cgroup name", name};
    return {};
}

Result<UnifiedGroup> UnifiedGroup::make(const std::string& path, const IdMap& ids) {
    UnifiedGroup group;
    // Alone, so that a name that exists is refused before anything of it is touched.
    SBX_TRY(group.top_, CgroupFolder::make(path));
    auto built = group.build(path, ids);
    if (!built) {
        (void)remove_folders(path);  // the first failure is the one to tell
        return std::move(built).error();
    }
    return group;
}

Result<void> UnifiedGroup::build(const std::string& path, const IdMap& ids) {
    SBX_TRY(init_, CgroupFolder::make(path + "/init"));
    SBX_TRY(work_, CgroupFolder::make(path + "/work"));
    SBX_CHECK(work_.delegate_to(ids.init_id()));
    // Moving init -> work/e1 asks for the right to write cgroup.procs of the nearest group above
    // both.
    return sys::chownat(top_.fd(), "cgroup.procs", ids.init_id(), ids.init_id());
}

void UnifiedGroup::release() noexcept {
    for (CgroupFolder* folder : {&top_, &init_, &work_}) folder->release();
}

Result<UnifiedGroup> UnifiedGroup::find(const std::string& path) {
    UnifiedGroup group;
    SBX_TRY(group.top_, CgroupFolder::find(path));
    for (auto [folder, name] :
         {std::pair{&group.init_, "/init"}, std::pair{&group.work_, "/work"}}) {
        auto opened = CgroupFolder::find(path + name);
        if (opened) {
            *folder = *std::move(opened);
        } else if (!opened.error().is_errno(ENOENT)) {
            return std::move(opened).error();
        }
    }
    return group;
}

Result<void> UnifiedGroup::freeze(bool on) const {
    if (!top_.valid()) return {};
    SBX_CHECK(top_.write("cgroup.freeze", on ? "1" : "0"));
    auto reached = wait_frozen(on);
    if (reached || !on) return reached;
    // Half frozen is worse than running: some of its processes would wait for others that sleep.
    (void)top_.write("cgroup.freeze", "0");
    return reached;
}

// cgroup.events signals POLLPRI to every open file of it, once for each change since that file was
// last read.
Result<void> UnifiedGroup::wait_frozen(bool on) const {
    const Deadline deadline = Deadline::after(kFreezePatience);
    SBX_TRY(const Fd events, sys::open(top_.path() + "/cgroup.events", O_RDONLY));
    for (;;) {
        std::array<char, 256> text{};
        const ssize_t size = ::pread(events.get(), text.data(), text.size(), 0);
        if (size < 0) return errno_error("read", top_.path() + "/cgroup.events");
        SBX_TRY(const std::uint64_t frozen,
                flat_key({text.data(), static_cast<std::size_t>(size)}, "frozen"));
        if ((frozen == 1) == on) return {};
        const auto left =
            std::chrono::ceil<std::chrono::milliseconds>(deadline.time() - Deadline::Clock::now());
        if (left.count() <= 0) return Error{Errc::timeout, on ? "freeze" : "thaw", top_.path()};
        pollfd waited{events.get(), POLLPRI, 0};
        (void)::poll(&waited, 1, static_cast<int>(left.count()));  // every outcome: look again
    }
}

Result<void> UnifiedGroup::kill() const {
    if (!top_.valid()) return {};
    return top_.write("cgroup.kill", "1");
}

Result<bool> UnifiedGroup::populated() const {
    if (!top_.valid()) return false;
    SBX_TRY(const std::string events, top_.read("cgroup.events"));
    SBX_TRY(const std::uint64_t value, flat_key(events, "populated"));
    return value != 0;
}

}  // namespace sandboxd::isolation
