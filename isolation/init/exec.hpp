#pragma once

#include <sys/types.h>

#include <cstdint>

#include "isolation/init/jail_state.hpp"
#include "isolation/init/refusals.hpp"
#include "sandboxd/agent/protocol.hpp"

namespace sandboxd::init {

// One exec that the API has not forgotten. The descriptors are duplicates of what the API got: they keep pipes and
// terminal open while the API is away.
struct ExecSlot {
    bool used = false;
    bool forgotten = false;  // only its leaf is waited for
    // Until the child has exec'd. The workload can hold it up (SIGSTOP once it has the user's ids, a cgroup at its
    // limits), so nothing may wait for it.
    bool starting = false;
    int status = -1;                // while starting: see ChildSpec
    int listener = -1;              // of the filters, until nobody is left under them: see Refusals
    std::uint64_t start_by_ns = 0;
    bool start_expired = false;
    std::uint32_t request = 0;      // who asked, and on which connection
    std::uint32_t connection = 0;
    agent::ExecState state;
    int fds[3] = {-1, -1, -1};
    std::size_t fd_count = 0;
    std::uint64_t deadline_ns = 0;  // 0: none
    std::uint64_t kill_at_ns = 0;   // after SIGTERM
    std::uint32_t kill_grace_ms = 0;
};

// The table of execs and what is done to them. One thread.
class Execs {
public:
    explicit Execs(JailState& jail) : jail_{jail} {}

    enum class Start { pending, started, failed };

    // Forks the child; 0, or the failure. How it went comes from settle, once slot->status is readable.
    // `files`: the memfd of kWithFiles, -1 without; closed by the caller.
    agent::Failure start(const agent::Exec& request, int files, std::uint32_t number, std::uint32_t connection);
    // Never waits. After `failed` the slot is only waiting for its leaf.
    Start settle(ExecSlot& slot, agent::Failure& failure);
    agent::Failure signal(const agent::Signal& request);
    agent::Failure resize(const agent::Resize& request);
    agent::Failure close_stdin(std::uint64_t exec);
    agent::Failure forget(std::uint64_t exec);

    // The slot whose main process this is, starting or running; null for an orphan.
    [[nodiscard]] ExecSlot* of_process(pid_t pid);
    static void record_exit(ExecSlot& slot, int wait_status);
    // Answers one refused call of this exec. True: there is a new kind of refusal to tell.
    bool serve_refusal(ExecSlot& slot);
    void close_listener(ExecSlot& slot);
    // What it was refused so far; null: nothing.
    [[nodiscard]] const agent::ExecRefusals* refusals(const ExecSlot& slot) const { return refusals_.of(place(slot)); }
    // Removes leaves of forgotten execs that have become empty.
    void sweep_leaves();
    // Ends what is past its deadline. Returns when to look again (boot time), 0: no need.
    std::uint64_t enforce_deadlines();

    [[nodiscard]] ExecSlot* slots() { return slots_; }
    [[nodiscard]] std::uint32_t held() const;
    // Rewrites what the workload sees of its limits when that is due. Returns when to look again (boot time); 0: not
    // before something runs.
    std::uint64_t keep_view();

private:
    [[nodiscard]] ExecSlot* find(std::uint64_t exec);
    [[nodiscard]] std::uint32_t place(const ExecSlot& slot) const { return static_cast<std::uint32_t>(&slot - slots_); }
    void release(ExecSlot& slot);
    [[nodiscard]] ExecSlot* free_slot();
    bool make_leaf(std::uint64_t exec);
    bool remove_leaf(std::uint64_t exec);
    void signal_tree(std::uint64_t exec, int signal);
    void give_cpus(std::uint64_t exec);
    void enforce(ExecSlot& slot, std::uint64_t now);
    pid_t fork_into_leaf(const agent::Exec& request, const struct Channels& channels, int files, int status);

    JailState& jail_;
    ExecSlot slots_[agent::kMaxExecs];
    Refusals refusals_;
    bool leaves_to_sweep_ = false;
};

}  // namespace sandboxd::init
