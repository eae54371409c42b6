#include "isolation/jail.hpp"

#include <fcntl.h>
#include <signal.h>

#include <array>
#include <boost/asio/cancellation_state.hpp>
#include <boost/asio/this_coro.hpp>
#include <cerrno>
#include <cstring>

#include "isolation/clone_child.hpp"
#include "isolation/jail_mounts.hpp"
#include "isolation/jail_plan.hpp"
#include "sandboxd/core/async.hpp"
#include "sandboxd/core/log.hpp"

namespace sandboxd::isolation {

namespace {

// How long a killed child may take: longer is a process stuck in the kernel, which no waiting
// helps.
constexpr std::chrono::seconds kDeathPatience{10};

// A child between clone and the day it is a Jail. If a launch is destroyed while it waits (the
// daemon's loop is torn down), the destructor is the only one left to end it, and blocks for that.
struct Launching {
    ClonedChild child;
    Fd socket;
    JailMounts mounts;  // until the plan that carries them is sent

    Launching() noexcept = default;
    Launching(Launching&&) noexcept = default;
    Launching& operator=(Launching&&) noexcept = default;
    ~Launching() {
        if (!child.pidfd.valid()) return;
        (void)sys::pidfd_signal(child.pidfd.get(), SIGKILL);
        (void)sys::reap(child.pidfd.get());
    }
};

struct ChildEnds {
    std::vector<Fd> fds;
    TrampolinePlan plan{};

    Result<int> take(int fd) {
        SBX_TRY(Fd copy, dup_out_of_the_way(fd));
        fds.push_back(std::move(copy));
        return fds.back().get();
    }
};

Result<ChildEnds> child_ends(const JailSpec& spec, int socket) {
    ChildEnds ends;
    SBX_TRY(const Fd null_device, sys::open("/dev/null", O_RDWR));
    SBX_TRY(ends.plan.socket, ends.take(socket));
    SBX_TRY(ends.plan.null_device, ends.take(null_device.get()));
    SBX_TRY(ends.plan.init_binary, ends.take(spec.init_binary));
    const SandboxCgroup::Entry entry = spec.cgroup->entry();
    SBX_TRY(ends.plan.namespace_root, ends.take(entry.namespace_root));
    if (entry.tasks.size() > kMaxEntryFds)
        return Error{Errc::invalid_argument, "launch", "too many cgroup hierarchies"};
    for (const int fd : entry.tasks) {
        SBX_TRY(ends.plan.tasks[ends.plan.task_count], ends.take(fd));
        ++ends.plan.task_count;
    }
    if (entry.namespace_tasks.size() > kMaxEntryFds)
        return Error{Errc::invalid_argument, "launch", "too many cgroup hierarchies"};
    for (const int fd : entry.namespace_tasks) {
        SBX_TRY(ends.plan.above[ends.plan.above_count], ends.take(fd));
        ++ends.plan.above_count;
    }
    return ends;
}

Result<Launching> clone_into(const JailSpec& spec) {
    Launching launching;
    SBX_TRY(sys::SocketPair pair, sys::seqpacket_pair());
    // The child's end blocks: neither the trampoline nor the init has anything else to do.
    if (::fcntl(pair.second.get(), F_SETFL, 0) < 0) return errno_error("fcntl");
    SBX_TRY(const ChildEnds ends, child_ends(spec, pair.second.get()));
    SBX_TRY(launching.child, clone_child(spec.cgroup->clone_target(), spec.ids, ends.plan));
    launching.socket = std::move(pair.first);
    return launching;
}

// By path: the child is ours and not reaped, so its pid can't be another's.
Result<Fd> map_ids(pid_t pid, const IdMap& ids) {
    SBX_TRY(const Fd proc, sys::open("/proc/" + std::to_string(pid), O_PATH | O_DIRECTORY));
    const std::string map = "0 " + std::to_string(ids.base) + " " + std::to_string(kIdRange);
    SBX_CHECK(sys::write_control(proc.get(), "uid_map", map));
    SBX_CHECK(sys::write_control(proc.get(), "gid_map", map));
    return sys::openat(proc.get(), "ns/user", O_RDONLY);
}

Result<void> prepare(Launching& launching, const JailSpec& spec) {
    SBX_TRY(const Fd userns, map_ids(launching.child.pid, spec.ids));
    SBX_TRY(launching.mounts.trees, clone_mounts(spec.mounts, userns.get()));
    SBX_CHECK(add_tmpfs(launching.mounts, userns.get(), spec.shm_bytes, shm_inodes(spec.shm_bytes)));
    if (spec.sudo_client >= 0) {
        SBX_TRY(launching.mounts.sudo_client, clone_program(spec.sudo_client));
    }
    constexpr std::array<std::byte, 1> kGo{std::byte{'g'}};
    return sys::send_message(launching.socket.get(), kGo);
}

const char* step_name(TrampolineStep step) noexcept {
    switch (step) {
        case TrampolineStep::none:
            return "none";
        case TrampolineStep::descriptors:
            return "descriptors";
        case TrampolineStep::wait_for_go:
            return "wait_for_go";
        case TrampolineStep::enter_cgroups:
            return "enter_cgroups";
        case TrampolineStep::cgroup_namespace:
            return "cgroup_namespace";
        case TrampolineStep::set_ids:
            return "set_ids";
        case TrampolineStep::exec:
            return "exec";
    }
    return "unknown";
}

Error stage_failed(std::string stage, int error) {
    return errno_error(error, "jail set-up", "stage " + stage).fact("stage", stage);
}

// What the child says next, with its failures already turned into errors.
struct Answer {
    std::array<std::byte, 64> bytes{};
    std::size_t size = 0;
};

asio::awaitable<Result<Answer>> next_answer(int socket, Deadline deadline) {
    Answer answer;
    auto readable = co_await wait_fd(socket, Ready::read, deadline);
    if (!readable) co_return std::move(readable).error();
    auto got = sys::receive_message(socket, answer.bytes);
    // A peer that died with our plan unread leaves this error once, in front of what it had said
    // before.
    if (!got && got.error().is_errno(ECONNRESET)) got = sys::receive_message(socket, answer.bytes);
    if (!got) co_return std::move(got).error();
    answer.size = got->size;
    if (answer.size == 0)
        co_return Error{Errc::protocol_error, "jail set-up", "the child died before it answered"};
    if (answer.size != sizeof(TrampolineReport)) co_return answer;
    TrampolineReport report{};
    std::memcpy(&report, answer.bytes.data(), sizeof report);
    if (report.magic != kTrampolineMagic || report.step == TrampolineStep::none) co_return answer;
    co_return stage_failed(step_name(report.step), report.error);
}

Result<void> check_entered(const Answer& answer) {
    if (answer.size == sizeof(TrampolineReport)) return {};
    return Error{Errc::protocol_error, "jail set-up", "unexpected message before the plan"};
}

Result<Walls> check_ready(const Answer& answer) {
    wire::Reader reader{answer.bytes.data(), answer.size};
    SetupReport report;
    if (!reader(report) || !reader.done()) {
        return Error{Errc::protocol_error, "jail set-up", "malformed report of the init"};
    }
    if (report.error != 0) return stage_failed(stage_name(report.stage), report.error);
    if (report.stage == Stage::ready) return report.walls;
    return Error{
        Errc::protocol_error, "jail set-up",
        std::string{"the init stopped at stage "} + stage_name(report.stage) + " without an error"};
}

Result<void> send_plan(Launching& launching, const JailSpec& spec) {
    SBX_TRY(const EncodedPlan plan, encode_plan(spec, launching.mounts));
    SBX_CHECK(sys::send_message(launching.socket.get(), plan.bytes, plan.fds));
    launching.mounts = {};
    return {};
}

asio::awaitable<Result<Walls>> follow(Launching& launching, const JailSpec& spec,
                                     Deadline deadline) {
    SBX_CO_CHECK(prepare(launching, spec));
    auto first = co_await next_answer(launching.socket.get(), deadline);
    if (!first) co_return std::move(first).error();
    SBX_CO_CHECK(check_entered(*first));
    SBX_CO_CHECK(spec.cgroup->settle());
    auto sent = send_plan(launching, spec);
    // A child that could not execute the init has said so and gone: its last word says more than
    // EPIPE.
    if (!sent && !sent.error().is_errno(EPIPE)) co_return std::move(sent).error();
    auto second = co_await next_answer(launching.socket.get(), deadline);
    if (!second) co_return std::move(second).error();
    co_return check_ready(*second);
}

// Kills and reaps: a launch that failed leaves no process, whoever has lost interest.
asio::awaitable<void> end(Launching& launching) {
    const int pidfd = launching.child.pidfd.get();
    (void)sys::pidfd_signal(pidfd, SIGKILL);  // dead already is as good
    auto dead = co_await wait_fd(pidfd, Ready::read, Deadline::after(kDeathPatience));
    if (!dead && dead.error().is(Errc::timeout)) {
        log::error("a killed jail does not die", {{"pid", launching.child.pid}});
    } else {
        (void)sys::reap(pidfd);  // cancelled meanwhile: it is dying, and this waits for that
    }
    launching.child.pidfd.reset();
}

}  // namespace

struct Jail::Impl {
    sys::ProcessIdentity identity;
    Walls walls;
    Fd pidfd;
    bool ours = false;  // to reap
};

asio::awaitable<Result<Jail>> Jail::launch(JailSpec spec, Deadline deadline) {
    SBX_CO_CHECK(check_spec(spec));
    SBX_CO_TRY(Launching launching, clone_into(spec));
    auto ready = co_await follow(launching, spec, deadline);
    auto identity = sys::identify(launching.child.pid);
    if (!ready || !identity) {
        Error error = !ready ? std::move(ready).error() : std::move(identity).error();
        // Where that error is a cancellation, Asio would throw at the next co_await instead of
        // letting us clean up.
        const auto cancellation = co_await asio::this_coro::cancellation_state;
        if (cancellation.cancelled() != asio::cancellation_type::none) {
            co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
        }
        co_await end(launching);
        co_return std::move(error).with("launch");
    }
    auto impl = std::make_unique<Impl>();
    impl->identity = *identity;
    impl->walls = *ready;
    impl->pidfd = std::move(launching.child.pidfd);
    impl->ours = true;
    co_return Jail{std::move(impl)};
}

Result<Jail> Jail::adopt(const sys::ProcessIdentity& init) {
    auto impl = std::make_unique<Impl>();
    SBX_TRY(impl->pidfd, sys::pidfd_open(init));
    impl->identity = init;
    return Jail{std::move(impl)};
}

Jail::Jail(std::unique_ptr<Impl> impl) noexcept : impl_{std::move(impl)} {}
Jail::Jail(Jail&&) noexcept = default;
Jail& Jail::operator=(Jail&&) noexcept = default;
Jail::~Jail() = default;

const sys::ProcessIdentity& Jail::init() const noexcept {
    return impl_->identity;
}
Walls Jail::walls() const noexcept {
    return impl_->walls;
}
int Jail::pidfd() const noexcept {
    return impl_->pidfd.get();
}

asio::awaitable<Result<void>> Jail::wait(Deadline deadline) {
    auto dead = co_await wait_fd(impl_->pidfd.get(), Ready::read, deadline);
    if (!dead) co_return std::move(dead).error();
    if (impl_->ours) {
        impl_->ours = false;  // dead: this collects it and does not wait
        SBX_CO_CHECK(sys::reap(impl_->pidfd.get()));
    }
    co_return Result<void>{};
}

}  // namespace sandboxd::isolation
