#include "isolation/init/exec_child.hpp"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/filter.h>
#include <linux/keyctl.h>
#include <linux/seccomp.h>
#include <linux/securebits.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/fsuid.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "isolation/init/kernel.hpp"
#include "isolation/init/refusals.hpp"

namespace sandboxd::init {

using agent::Step;

namespace {

constexpr std::size_t kMaxStrings = 4096;

// What the jail's root may do to its own files and processes. None of these reaches beyond the workload's user
// namespace, which owns nothing but its processes.
constexpr std::uint64_t kRootCapabilities = 1ULL << CAP_CHOWN | 1ULL << CAP_DAC_OVERRIDE | 1ULL << CAP_FOWNER | 1ULL << CAP_FSETID |
                                            1ULL << CAP_KILL | 1ULL << CAP_SETGID | 1ULL << CAP_SETUID | 1ULL << CAP_NET_BIND_SERVICE;

bool set_capabilities(std::uint64_t keep) {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct data[2]{};
    for (int i = 0; i < 2; ++i) {
        data[i].effective = data[i].permitted = static_cast<std::uint32_t>(keep >> (32 * i));
    }
    return ::syscall(SYS_capset, &header, data) == 0;
}

bool drop_bounding_set(std::uint64_t keep) {
    for (int cap = 0; cap < 64; ++cap) {
        if ((keep >> cap & 1) != 0) continue;
        if (::prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) != 0) return errno == EINVAL;  // the first number past the last capability
    }
    return true;
}

[[noreturn]] void fail(const ChildSpec& spec, Step step, int error) {
    agent::Failure failure;
    failure.error = error;
    failure.step = step;
    std::byte buffer[32];
    wire::Writer writer{buffer, sizeof buffer};
    (void)writer(failure);
    (void)!::write(spec.status, buffer, writer.size());
    ::_exit(127);
}

// Splits "a\0b\0" into pointers; null when there are too many or the last string is not ended.
bool split(std::string_view block, const char** out, std::size_t capacity) {
    std::size_t count = 0;
    while (!block.empty()) {
        const std::size_t end = block.find('\0');
        if (end == std::string_view::npos || count + 1 >= capacity) return false;
        out[count++] = block.data();
        block.remove_prefix(end + 1);
    }
    out[count] = nullptr;
    return true;
}

// v1 hierarchies: the unified leaf was entered at clone3. By `tasks`, which moves this one thread without a lock;
// cgroup.procs would wait for an RCU grace period, about 10 ms on an idle machine.
bool enter_cgroups(const JailState& jail, std::uint64_t exec) {
    Text<64> path;
    path.add("e").add(exec).add("/tasks");
    for (const int leaf : {jail.leaf_memory, jail.leaf_cpuacct}) {
        if (leaf >= 0 && write_file(leaf, path.c_str(), "0") != 0) return false;
    }
    for (std::size_t i = 0; i < jail.join_count; ++i) {
        if (::write(jail.join_procs[i], "0", 1) != 1) return false;
    }
    return true;
}

// The descriptor is the init's alone from here on.
bool hand_over(const ChildSpec& spec, Handover what, int fd) {
    const auto tag = static_cast<std::byte>(what);
    return send_with_fds(spec.status, &tag, 1, &fd, 1, 0) && ::close(fd) == 0;
}

// The terminal is opened by the program's own user, so that the node belongs to that user. The master goes to the init.
bool open_terminal(const ChildSpec& spec) {
    const int master = ::open("/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    if (master < 0) return false;
    int unlock = 0;
    if (::ioctl(master, TIOCSPTLCK, &unlock) != 0) return false;
    const int slave = ::ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (slave < 0) return false;
    winsize size{};
    size.ws_row = spec.request->rows;
    size.ws_col = spec.request->cols;
    if (::ioctl(slave, TIOCSWINSZ, &size) != 0 || ::ioctl(slave, TIOCSCTTY, 0) != 0) return false;
    if (!hand_over(spec, Handover::terminal, master)) return false;
    for (int fd = 0; fd <= 2; ++fd) {
        if (::dup2(slave, fd) < 0) return false;
    }
    return true;
}

bool make_parents(char* path) {
    for (char* p = path + 1; *p != '\0'; ++p) {
        if (*p != '/') continue;
        *p = '\0';
        const int rc = ::mkdir(path, 0755);
        *p = '/';
        if (rc != 0 && errno != EEXIST) return false;
    }
    return true;
}

bool write_one(const agent::FileRecord& record) {
    char path[agent::kMaxPath];
    if (record.path.empty() || record.path.size() >= sizeof path || record.path.find('\0') != std::string_view::npos) {
        errno = EINVAL;
        return false;
    }
    ::memcpy(path, record.path.data(), record.path.size());
    path[record.path.size()] = '\0';
    if (!make_parents(path)) return false;
    const int fd = ::open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, record.mode & 07777);
    if (fd < 0) return false;
    std::string_view left = record.content;
    while (!left.empty()) {
        const ssize_t n = ::write(fd, left.data(), left.size());
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) break;
        left.remove_prefix(static_cast<std::size_t>(n));
    }
    const int saved = errno;
    ::close(fd);
    errno = saved;
    return left.empty();
}

bool write_files(int memfd) {
    struct stat st {};
    if (::fstat(memfd, &st) != 0) return false;
    if (st.st_size == 0) return true;
    const auto size = static_cast<std::size_t>(st.st_size);
    const void* data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, memfd, 0);
    if (data == MAP_FAILED) return false;
    wire::Reader reader{static_cast<const std::byte*>(data), size};
    bool ok = true;
    while (ok && !reader.done()) {
        agent::FileRecord record;
        ok = reader(record);
        if (!ok) errno = EBADMSG;
        if (ok) ok = write_one(record);
    }
    const int saved = errno;
    ::munmap(const_cast<void*>(data), size);
    errno = saved;
    return ok;
}

bool load_filter(std::string_view program) {
    sock_fprog filter{};
    filter.len = static_cast<unsigned short>(program.size() / sizeof(sock_filter));
    filter.filter = reinterpret_cast<sock_filter*>(const_cast<char*>(program.data()));
    return program.empty() || ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter) == 0;
}

// The order matters, see isolation/seccomp.hpp.
bool load_filters(const JailState& jail, const ChildSpec& spec) {
    if (!load_filter(jail.plan.seccomp_names)) return false;
    if (jail.plan.seccomp_refusals.empty()) return load_filter(jail.plan.seccomp_arguments);
    const int listener = load_filter_with_listener(jail.plan.seccomp_arguments);
    return listener >= 0 && hand_over(spec, Handover::listener, listener);
}

const char* path_variable(const char* const* env) {
    for (; *env != nullptr; ++env) {
        if (::strncmp(*env, "PATH=", 5) == 0) return *env + 5;
    }
    return "/usr/local/bin:/usr/bin:/bin";
}

// execve, with the search of execvp(3) done by hand: its own uses memory and the init's environment.
void execute(const char* const* argv, const char* const* env) {
    const auto args = const_cast<char* const*>(argv);
    const auto vars = const_cast<char* const*>(env);
    if (::strchr(argv[0], '/') != nullptr) {
        ::execve(argv[0], args, vars);
        return;
    }
    int error = ENOENT;
    std::string_view path = path_variable(env);
    for (;;) {
        const std::size_t colon = path.find(':');
        Text<agent::kMaxPath> candidate;
        candidate.add(path.substr(0, colon)).add("/").add(argv[0]);
        if (candidate.ok() && candidate.c_str()[0] == '/') {
            ::execve(candidate.c_str(), args, vars);
            if (errno != ENOENT && errno != ENOTDIR) error = errno;
            if (errno != ENOENT && errno != ENOTDIR && errno != EACCES) break;
        }
        if (colon == std::string_view::npos) break;
        path.remove_prefix(colon + 1);
    }
    errno = error;
}

// Raising needs no capability as such; but the folder of a process that is not dumpable belongs to root, so this comes
// before the capabilities go.
bool raise_oom_score(std::uint64_t to) {
    Text<16> value;
    value.add(to);
    return write_file(AT_FDCWD, "/proc/self/oom_score_adj", value.view()) == 0;
}

Step set_limits(const JailState& jail) {
    for (std::uint32_t i = 0; i < jail.plan.rlimit_count; ++i) {
        const isolation::Rlimit& limit = jail.plan.rlimits[i];
        const auto resource = static_cast<__rlimit_resource>(limit.resource);
        rlimit value{};
        if (::getrlimit(resource, &value) != 0) return Step::rlimits;
        // Raising a hard limit would need a capability over the host: the daemon's own limit bounds the plan's.
        value.rlim_max = limit.hard < value.rlim_max ? limit.hard : value.rlim_max;
        value.rlim_cur = limit.soft < value.rlim_max ? limit.soft : value.rlim_max;
        if (::setrlimit(resource, &value) != 0) return Step::rlimits;
    }
    // The kernel shall end the workload before anything of the host.
    if (jail.plan.oom_score_adj > 0 && !raise_oom_score(static_cast<std::uint64_t>(jail.plan.oom_score_adj))) return Step::rlimits;
    return Step::none;
}

// Takes the workload's namespace and the ids, for a program that is about to be exec'd.
Step become(const JailState& jail, std::uint32_t uid, std::uint32_t gid) {
    // As the owner of the workload's namespace we get every capability in it (user_namespaces(7)), and none outside.
    if (::setns(jail.workload_userns, CLONE_NEWUSER) != 0) return Step::userns;
    if (const Step step = set_limits(jail); step != Step::none) return step;
    const std::uint64_t keep = uid == 0 ? kRootCapabilities : 0;
    // Everything that needs a capability comes before the ids change and the capabilities go.
    if (!drop_bounding_set(keep)) return Step::ids;
    if (uid != 0 && ::prctl(PR_SET_SECUREBITS, SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP_LOCKED | SECBIT_KEEP_CAPS_LOCKED, 0, 0, 0) != 0) {
        return Step::ids;
    }
    const gid_t group = gid;
    if (::setgroups(1, &group) != 0 || ::setresgid(gid, gid, gid) != 0 || ::setresuid(uid, uid, uid) != 0) return Step::ids;
    if (::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0 || !set_capabilities(keep)) return Step::ids;
    return Step::none;
}

}  // namespace

agent::Step become_file_user(const JailState& jail, std::uint32_t uid, std::uint32_t gid) {
    if (::setns(jail.workload_userns, CLONE_NEWUSER) != 0) return Step::userns;
    // Tasks share PID 1's small memory group: of the two, the kernel is to end the task.
    if (!raise_oom_score(1000)) return Step::rlimits;
    const gid_t group = gid;
    if (::setgroups(1, &group) != 0) return Step::ids;
    // These report no error; asked again with an id that is never valid, they say what holds.
    ::setfsgid(gid);
    ::setfsuid(uid);
    constexpr auto kInvalid = static_cast<uid_t>(-1);
    if (static_cast<gid_t>(::setfsgid(kInvalid)) != gid || static_cast<uid_t>(::setfsuid(kInvalid)) != uid) {
        errno = EPERM;
        return Step::ids;
    }
    return set_capabilities(uid == 0 ? kRootCapabilities : 0) ? Step::none : Step::ids;
}

[[noreturn]] void run_child(const JailState& jail, const ChildSpec& spec) {
    const agent::Exec& request = *spec.request;
    static const char* argv[kMaxStrings];
    static const char* env[kMaxStrings];
    if (!split(request.argv, argv, kMaxStrings) || !split(request.env, env, kMaxStrings) || argv[0] == nullptr) fail(spec, Step::request, E2BIG);

    // First of all the limits: from here on this process counts as workload.
    if (spec.enter_leaf >= 0 && write_file(spec.enter_leaf, "cgroup.procs", "0") != 0) fail(spec, Step::cgroup, errno);
    if (!enter_cgroups(jail, request.exec)) fail(spec, Step::cgroup, errno);
    if (::setsid() < 0) fail(spec, Step::session, errno);
    if (const Step step = become(jail, request.uid, request.gid); step != Step::none) fail(spec, step, errno);
    // A keyring of its own: keyrings are shared by session, not by namespace (keyrings(7)).
    (void)::syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, nullptr);

    // Before the first path that somebody outside chose: the init's descriptors stand for folders of the host, and
    // "/proc/self/fd/N/.." walks from there to the host's root, whatever the jail's own root is (CVE-2024-21626).
    int keep[] = {spec.stdio[0], spec.stdio[1], spec.stdio[2], spec.files, spec.status};
    if (!close_all_except(keep, 5)) fail(spec, Step::session, errno);

    // With the user's rights only, from here on.
    Text<agent::kMaxPath> cwd;
    cwd.add(request.cwd);
    if (!cwd.ok()) fail(spec, Step::cwd, ENAMETOOLONG);
    const int folder = open_plain(cwd.c_str(), O_PATH | O_DIRECTORY);
    if (folder < 0 || ::fchdir(folder) != 0) fail(spec, Step::cwd, errno);
    ::close(folder);
    if (spec.files >= 0 && !write_files(spec.files)) fail(spec, Step::files, errno);
    if ((request.flags & agent::kPty) != 0) {
        if (!open_terminal(spec)) fail(spec, Step::pty, errno);
    } else {
        for (int fd = 0; fd <= 2; ++fd) {
            if (::dup2(spec.stdio[fd], fd) < 0) fail(spec, Step::pipe, errno);
        }
        if (spec.terminal >= 0 && ::ioctl(spec.terminal, TIOCSCTTY, 0) != 0) fail(spec, Step::pty, errno);
    }
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);  // handlers were reset by CLONE_CLEAR_SIGHAND
    // Nothing may be opened after this; descriptors of the init end at exec (CVE-2024-21626).
    if (sys_close_range(3, ~0U, CLOSE_RANGE_CLOEXEC) != 0) fail(spec, Step::seccomp, errno);
    // Last, so that set-up needs no allowance in the filters. no_new_privs was set by the init and can't be cleared.
    if (!load_filters(jail, spec)) fail(spec, Step::seccomp, errno);
    execute(argv, env);
    fail(spec, Step::exec, errno);
}

}  // namespace sandboxd::init
