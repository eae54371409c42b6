#include "sandboxd/api_confinement.hpp"

#include <fcntl.h>
#include <grp.h>
#include <linux/landlock.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/capability.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <memory>

#include "sandboxd/core/log.hpp"
#include "sandboxd/core/sys.hpp"

namespace sandboxd {

namespace {

Result<void> check(long rc, const char* operation) {
    if (rc < 0) return errno_error(operation);
    return {};
}

// Needs CAP_SETPCAP, so before the ids change.
Result<void> drop_bounding_set() {
    for (int cap = 0; cap <= CAP_LAST_CAP; ++cap) {
        // EINVAL: the kernel is older than the header and has no such capability.
        if (::prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0 && !errno_error("prctl").is_errno(EINVAL)) return errno_error("drop bounding set");
    }
    return {};
}

Result<void> clear_capabilities() {
    const std::unique_ptr<std::remove_pointer_t<cap_t>, int (*)(void*)> none{::cap_init(), ::cap_free};
    if (!none) return errno_error("cap_init");
    return check(::cap_set_proc(none.get()), "cap_set_proc");
}

// Everything that the process does after its start. Default: EPERM, so that a forgotten call shows as an error.
constexpr int kAllowed[] = {
    SCMP_SYS(accept), SCMP_SYS(accept4), SCMP_SYS(brk), SCMP_SYS(chmod), SCMP_SYS(clock_gettime), SCMP_SYS(clock_getres), SCMP_SYS(clock_nanosleep), SCMP_SYS(clone3),
    SCMP_SYS(clone), SCMP_SYS(close), SCMP_SYS(close_range), SCMP_SYS(copy_file_range), SCMP_SYS(dup), SCMP_SYS(dup3), SCMP_SYS(epoll_create1),
    SCMP_SYS(epoll_ctl), SCMP_SYS(epoll_pwait), SCMP_SYS(epoll_wait), SCMP_SYS(eventfd2), SCMP_SYS(exit), SCMP_SYS(exit_group),
    SCMP_SYS(fadvise64), SCMP_SYS(fallocate), SCMP_SYS(fchmod), SCMP_SYS(fcntl), SCMP_SYS(fdatasync), SCMP_SYS(flock), SCMP_SYS(fstat), SCMP_SYS(fstatfs),
    SCMP_SYS(fsync), SCMP_SYS(ftruncate), SCMP_SYS(futex), SCMP_SYS(getcwd), SCMP_SYS(getdents64), SCMP_SYS(getegid), SCMP_SYS(geteuid), SCMP_SYS(getgid),
    SCMP_SYS(getpeername), SCMP_SYS(getpid), SCMP_SYS(getppid), SCMP_SYS(getrandom), SCMP_SYS(getrusage), SCMP_SYS(getsockname), SCMP_SYS(getsockopt),
    SCMP_SYS(gettid), SCMP_SYS(gettimeofday), SCMP_SYS(getuid), SCMP_SYS(ioctl), SCMP_SYS(lseek), SCMP_SYS(lstat), SCMP_SYS(madvise), SCMP_SYS(membarrier),
    SCMP_SYS(memfd_create), SCMP_SYS(mkdir), SCMP_SYS(mkdirat), SCMP_SYS(mmap), SCMP_SYS(mprotect), SCMP_SYS(mremap), SCMP_SYS(munmap), SCMP_SYS(nanosleep),
    SCMP_SYS(newfstatat), SCMP_SYS(open), SCMP_SYS(openat), SCMP_SYS(pipe2), SCMP_SYS(poll), SCMP_SYS(ppoll), SCMP_SYS(prctl), SCMP_SYS(pread64), SCMP_SYS(preadv),
    SCMP_SYS(prlimit64), SCMP_SYS(pwrite64), SCMP_SYS(pwritev), SCMP_SYS(pwritev2), SCMP_SYS(read), SCMP_SYS(readlink), SCMP_SYS(readlinkat), SCMP_SYS(readv), SCMP_SYS(recvfrom),
    SCMP_SYS(recvmsg), SCMP_SYS(rename), SCMP_SYS(renameat), SCMP_SYS(renameat2), SCMP_SYS(restart_syscall), SCMP_SYS(rmdir), SCMP_SYS(rseq), SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn), SCMP_SYS(sched_getaffinity), SCMP_SYS(sched_yield), SCMP_SYS(sendfile), SCMP_SYS(sendmsg), SCMP_SYS(sendto),
    SCMP_SYS(set_robust_list), SCMP_SYS(setsockopt), SCMP_SYS(set_tid_address), SCMP_SYS(shutdown), SCMP_SYS(sigaltstack), SCMP_SYS(splice), SCMP_SYS(stat), SCMP_SYS(statfs),
    SCMP_SYS(statx), SCMP_SYS(sysinfo), SCMP_SYS(tee), SCMP_SYS(tgkill), SCMP_SYS(timerfd_create), SCMP_SYS(timerfd_settime), SCMP_SYS(uname), SCMP_SYS(unlink),
    SCMP_SYS(unlinkat), SCMP_SYS(write), SCMP_SYS(writev), SCMP_SYS(access), SCMP_SYS(faccessat), SCMP_SYS(faccessat2), SCMP_SYS(socketpair),
};

Result<void> load_seccomp() {
    const std::unique_ptr<void, void (*)(scmp_filter_ctx)> filter{::seccomp_init(SCMP_ACT_ERRNO(EPERM)), ::seccomp_release};
    if (!filter) return Error{Errc::internal, "seccomp_init"};
    for (const int call : kAllowed) {
        const int rc = ::seccomp_rule_add(filter.get(), SCMP_ACT_ALLOW, call, 0);
        if (rc < 0) return errno_error(-rc, "seccomp_rule_add", std::to_string(call));
    }
    const int rc = ::seccomp_load(filter.get());
    if (rc < 0) return errno_error(-rc, "seccomp_load");
    return {};
}

Result<void> allow_below(int ruleset, const std::string& path, std::uint64_t access) {
    SBX_TRY(const Fd folder, sys::open(path, O_PATH));
    landlock_path_beneath_attr rule{};
    rule.allowed_access = access;
    rule.parent_fd = folder.get();
    return check(::syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0), "landlock_add_rule");
}

Result<void> load_landlock(const std::string& own_folder) {
    // The rights of ABI 1 (kernel 5.13).
    constexpr std::uint64_t kRead = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
    constexpr std::uint64_t kAll = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1;
    landlock_ruleset_attr attributes{};
    attributes.handled_access_fs = kAll;
    const long fd = ::syscall(SYS_landlock_create_ruleset, &attributes, sizeof attributes, 0);
    if (fd < 0) {
        log::warn("Landlock is not available; file permissions alone bound sandboxd-api", {});
        return {};
    }
    const Fd ruleset{static_cast<int>(fd)};
    SBX_CHECK(allow_below(ruleset.get(), own_folder, kAll & ~LANDLOCK_ACCESS_FS_EXECUTE));
    SBX_CHECK(allow_below(ruleset.get(), "/proc", kRead));          // its own figures for /metrics
    SBX_CHECK(allow_below(ruleset.get(), "/sys/fs/cgroup", kRead)); // counters of sandboxes, below folders that it was handed
    SBX_CHECK(allow_below(ruleset.get(), "/dev/null", LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE));
    return check(::syscall(SYS_landlock_restrict_self, ruleset.get(), 0), "landlock_restrict_self");
}

}  // namespace

Result<std::string> move_into_folder(const std::string& folder) {
    constexpr const char* kPlace = "/mnt";  // of every system (FHS), and no other program of this namespace looks there
    SBX_CHECK(check(::unshare(CLONE_NEWNS), "unshare"));
    SBX_CHECK(sys::mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE));
    SBX_CHECK(sys::mount(folder.c_str(), kPlace, nullptr, MS_BIND));
    SBX_CHECK(sys::mount(nullptr, kPlace, nullptr, MS_REMOUNT | MS_BIND | MS_NOSUID | MS_NODEV | MS_NOEXEC));
    return std::string{kPlace};
}

Result<void> drop_privileges(uid_t uid, gid_t gid) {
    if (uid == 0 || gid == 0) return Error{Errc::invalid_argument, "sandboxd-api", "must not run as root"};
    SBX_CHECK(check(::setgroups(0, nullptr), "setgroups"));
    SBX_CHECK(drop_bounding_set());
    SBX_CHECK(check(::setresgid(gid, gid, gid), "setresgid"));
    SBX_CHECK(check(::setresuid(uid, uid, uid), "setresuid"));
    SBX_CHECK(clear_capabilities());
    SBX_CHECK(check(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs"));
    // Not dumpable: no core file and no ptrace by another process of the same user. The change of ids reset both this
    // and the parent-death signal, so they come last.
    SBX_CHECK(check(::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), "not dumpable"));
    SBX_CHECK(check(::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0), "parent-death signal"));
    if (::setresuid(0, 0, 0) == 0 || ::geteuid() != uid || ::getegid() != gid) {
        return Error{Errc::internal, "sandboxd-api", "still has privileges"};
    }
    return {};
}

Result<void> confine(const std::string& own_folder) {
    SBX_CHECK(load_landlock(own_folder));
    return load_seccomp();
}

}  // namespace sandboxd
