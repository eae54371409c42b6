#include "isolation/probe/confine.hpp"

#include <errno.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace sandboxd::probe {

namespace {

#if defined(__x86_64__)
constexpr std::uint32_t kArchitecture = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr std::uint32_t kArchitecture = AUDIT_ARCH_AARCH64;
#endif

constexpr int kAllowed[] = {SYS_read,  SYS_write, SYS_close,      SYS_recvmsg,      SYS_sendmsg,
                            SYS_ppoll, SYS_exit,  SYS_exit_group, SYS_rt_sigreturn, SYS_restart_syscall
#if defined(SYS_poll)
                            , SYS_poll
#endif
};
constexpr std::size_t kCount = sizeof kAllowed / sizeof kAllowed[0];

bool load_filter() {
    // Architecture, number, one comparison for each call, refuse, allow.
    static sock_filter program[kCount + 6];
    std::size_t n = 0;
    program[n++] = BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, arch));
    program[n++] = BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kArchitecture, 1, 0);
    program[n++] = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    program[n++] = BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr));
    for (std::size_t i = 0; i < kCount; ++i) {
        program[n++] = BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(kAllowed[i]), static_cast<std::uint8_t>(kCount - i), 0);
    }
    program[n++] = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    program[n++] = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    sock_fprog filter{};
    filter.len = static_cast<unsigned short>(n);
    filter.filter = program;
    return ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

}  // namespace

bool confine(std::uint32_t uid, std::uint32_t gid) {
    if (uid == 0 || gid == 0) {
        errno = EINVAL;
        return false;
    }
    // The change from root to another id takes every capability along (capabilities(7)).
    if (::setgroups(0, nullptr) != 0 || ::setresgid(gid, gid, gid) != 0 || ::setresuid(uid, uid, uid) != 0) return false;
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return false;
    if (::setresuid(0, 0, 0) == 0) {
        errno = EPERM;
        return false;
    }
    return load_filter();
}

}  // namespace sandboxd::probe
