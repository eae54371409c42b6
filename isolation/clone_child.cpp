#include "isolation/clone_child.hpp"

#include <fcntl.h>
#include <linux/sched.h>
#include <linux/securebits.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandboxd/core/assert.hpp"

namespace sandboxd::isolation {

namespace {

// The effective uid of this one thread, by raw system call: libc's setresuid would change every
// thread's. securebits are the thread's too, and NO_SETUID_FIXUP keeps its capabilities effective
// while it is not root.
class BorrowedUid {
public:
    [[nodiscard]] static Result<void> take(BorrowedUid& self, uid_t uid) {
        const int bits = ::prctl(PR_GET_SECUREBITS);
        if (bits < 0) return errno_error("prctl", "PR_GET_SECUREBITS");
        if (::prctl(PR_SET_SECUREBITS, bits | SECBIT_NO_SETUID_FIXUP) < 0) {
            return errno_error("prctl", "PR_SET_SECUREBITS");
        }
        self.bits_ = bits;
        self.dumpable_ = ::prctl(PR_GET_DUMPABLE);
        if (::syscall(SYS_setresuid, -1, uid, -1) < 0) return errno_error("setresuid");
        return {};
    }
    BorrowedUid() noexcept : own_{::geteuid()} {}
    BorrowedUid(const BorrowedUid&) = delete;
    BorrowedUid& operator=(const BorrowedUid&) = delete;
    // Going on as a sandbox's uid would be worse than not going on.
    ~BorrowedUid() {
        if (bits_ < 0) return;
        SBX_ASSERT(::syscall(SYS_setresuid, -1, own_, -1) == 0);
        SBX_ASSERT(::prctl(PR_SET_SECUREBITS, bits_) == 0);
        // A change of euid makes the whole process undumpable; the child's copy of it has been made
        // and stays so.
        if (dumpable_ == 1) (void)::prctl(PR_SET_DUMPABLE, 1);
    }

private:
    uid_t own_;
    int bits_ = -1;
    int dumpable_ = -1;
};

constexpr std::uint64_t kNamespaces = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET |
                                      CLONE_NEWIPC | CLONE_NEWUTS;

}  // namespace

Result<ClonedChild> clone_child(int cgroup_fd, const IdMap& ids, const TrampolinePlan& plan) {
    int pidfd = -1;
    clone_args args{};
    args.flags = kNamespaces | CLONE_PIDFD | CLONE_CLEAR_SIGHAND | CLONE_INTO_CGROUP;
    args.pidfd = reinterpret_cast<std::uint64_t>(&pidfd);
    args.exit_signal = SIGCHLD;
    args.cgroup = static_cast<std::uint64_t>(cgroup_fd);

    BorrowedUid owner;
    SBX_CHECK(BorrowedUid::take(owner, ids.base));
    const long pid = ::syscall(SYS_clone3, &args, sizeof args);
    if (pid == 0) run_trampoline(plan);
    if (pid < 0) return errno_error("clone3");
    return ClonedChild{static_cast<pid_t>(pid), Fd{pidfd}};
}

Result<Fd> dup_out_of_the_way(int fd) {
    const int copy = ::fcntl(fd, F_DUPFD_CLOEXEC, kFirstSafeFd);
    if (copy < 0) return errno_error("dup");
    return Fd{copy};
}

}  // namespace sandboxd::isolation
