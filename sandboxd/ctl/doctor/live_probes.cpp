#include <fcntl.h>
#include <linux/landlock.h>
#include <linux/mount.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "sandboxd/core/sys.hpp"
#include "sandboxd/core/sys_io.hpp"
#include "sandboxd/ctl/doctor/host.hpp"

namespace sandboxd::ctl::doctor {

namespace {

std::optional<int> landlock_abi() {
    const long version =
        ::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (version < 1) return std::nullopt;
    return static_cast<int>(version);
}

CoreScheduling core_scheduling() {
    unsigned long long cookie = 0;
    const int rc = ::prctl(PR_SCHED_CORE, PR_SCHED_CORE_GET, 0, 0 /* PIDTYPE_PID */, &cookie);
    if (rc == 0) return CoreScheduling::available;
    // ENODEV: built in, but no threads share a core here.
    return errno_error("prctl").is_errno(ENODEV) ? CoreScheduling::not_needed
                                                 : CoreScheduling::missing;
}

// A process in a user namespace of its own, to take the namespace from. This program has one thread
// when it probes, so a plain fork is safe; the child makes system calls only.
class UserNamespaceHolder {
public:
    UserNamespaceHolder() = default;
    UserNamespaceHolder(const UserNamespaceHolder&) = delete;
    UserNamespaceHolder& operator=(const UserNamespaceHolder&) = delete;
    ~UserNamespaceHolder() {
        if (pid_ <= 0) return;
        (void)::kill(pid_, SIGKILL);
        (void)::waitpid(pid_, nullptr, 0);
    }

    Result<Fd> start() {
        SBX_TRY(sys::Pipe ready, sys::pipe());
        pid_ = ::fork();
        if (pid_ == 0) {
            const char done = ::unshare(CLONE_NEWUSER) == 0 ? '1' : '0';
            (void)!::write(ready.write.get(), &done, 1);
            for (;;) ::pause();
        }
        if (pid_ < 0) return Error{Errc::unavailable, "fork", "no process can be made"};
        if (await(ready) != '1')
            return Error{Errc::incompatible, "unshare", "no user namespace can be made"};
        const std::string folder = "/proc/" + std::to_string(pid_);
        SBX_CHECK(sys::write_control(folder + "/uid_map", "0 100000 65536"));
        SBX_CHECK(sys::write_control(folder + "/gid_map", "0 100000 65536"));
        return sys::open(folder + "/ns/user", O_RDONLY);
    }

private:
    static char await(const sys::Pipe& ready) {
        // Made non-blocking for event loops; here there is nothing else to do.
        (void)::fcntl(ready.read.get(), F_SETFL, 0);
        char answer = 0;
        (void)!::read(ready.read.get(), &answer, 1);
        return answer;
    }

    pid_t pid_ = -1;
};

Result<void> id_mapped_mount() {
    UserNamespaceHolder holder;
    SBX_TRY(const Fd userns, holder.start());
    SBX_TRY(const Fd tree, sys::clone_tree(AT_FDCWD, "/"));
    return sys::mount_setattr(tree.get(), MOUNT_ATTR_IDMAP, 0, userns.get());
}

std::optional<std::uint64_t> free_bytes(const std::string& path) {
    // The state directory may not exist yet: what will hold it.
    for (std::string at = path; !at.empty(); at.erase(at.find_last_of('/'))) {
        struct statvfs info {};
        if (::statvfs(at.c_str(), &info) == 0) return std::uint64_t{info.f_bavail} * info.f_frsize;
        if (at.find('/') == std::string::npos) break;
    }
    struct statvfs info {};
    if (::statvfs("/", &info) == 0) return std::uint64_t{info.f_bavail} * info.f_frsize;
    return std::nullopt;
}

}  // namespace

Probes live_probes() {
    Probes probes;
    probes.root = ::geteuid() == 0;
    struct utsname name {};
    if (::uname(&name) == 0) probes.kernel_release = name.release;
    probes.landlock_abi = landlock_abi();
    probes.core_scheduling = core_scheduling();
    probes.id_mapped_mount = id_mapped_mount;
    probes.free_bytes = free_bytes;
    return probes;
}

}  // namespace sandboxd::ctl::doctor
