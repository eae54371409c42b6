#include "sandboxd/attest/inspection.hpp"

#include <sys/prctl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <filesystem>
#include <sstream>

#include "sandboxd/core/sys.hpp"

namespace sandboxd::attest {

namespace {

std::string folder_of(pid_t pid) { return "/proc/" + std::to_string(pid); }

// Where a link of procfs leads; empty when it can't be read.
std::string link_of(const std::string& path) {
    std::array<char, 256> target{};
    const ssize_t size = ::readlink(path.c_str(), target.data(), target.size());
    return size > 0 ? std::string{target.data(), static_cast<std::size_t>(size)} : std::string{};
}

WallFinding finding_of(Wall wall, bool holds, std::string observed) {
    observed.resize(std::min(observed.size(), isolation::kMaxObserved));
    return {wall, holds ? WallStatus::holds : WallStatus::broken, std::move(observed)};
}

WallFinding namespaces(pid_t pid) {
    std::string shared;
    std::string own;
    for (const char* kind : {"user", "mnt", "pid", "net", "ipc", "uts", "cgroup", "time"}) {
        const std::string ours = link_of(std::string{"/proc/self/ns/"} + kind);
        if (ours.empty()) continue;  // a kernel without this kind
        const std::string theirs = link_of(folder_of(pid) + "/ns/" + kind);
        (theirs.empty() || theirs == ours ? shared : own) += std::string{" "} + kind;
    }
    if (!shared.empty()) return finding_of(Wall::namespaces, false, "shared with the host:" + shared);
    return finding_of(Wall::namespaces, true, "its own:" + own);
}

// The words of one line of /proc/PID/status.
std::vector<std::string> status_line(const std::string& status, const std::string& name) {
    const std::string text = '\n' + status;
    const std::size_t at = text.find('\n' + name + ':');
    std::vector<std::string> words;
    if (at == std::string::npos) return words;
    const std::size_t begin = at + name.size() + 2;
    std::istringstream line{text.substr(begin, text.find('\n', begin) - begin)};
    for (std::string word; line >> word;) words.push_back(word);
    return words;
}

WallFinding id_range(const std::string& status, isolation::IdMap ids) {
    std::string wrong;
    std::size_t known = 0;
    for (const char* kind : {"Uid", "Gid", "Groups"}) {
        for (const std::string& word : status_line(status, kind)) {
            std::uint64_t id = 0;
            std::from_chars(word.data(), word.data() + word.size(), id);
            ++known;
            if (id < ids.base || id - ids.base >= isolation::kIdRange) wrong += std::string{" "} + kind + " " + word;
        }
    }
    // Four user ids and four group ids, at least.
    if (known < 8) return finding_of(Wall::id_range, false, "its ids can't be read");
    if (!wrong.empty()) return finding_of(Wall::id_range, false, "outside of the jail's range:" + wrong);
    return finding_of(Wall::id_range, true,
                      "all ids in " + std::to_string(ids.base) + ".." + std::to_string(std::uint64_t{ids.base} + isolation::kIdRange - 1));
}

WallFinding capabilities(const std::string& status) {
    std::string held;
    for (const char* set : {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"}) {
        const std::vector<std::string> words = status_line(status, set);
        if (words.size() != 1 || words[0].find_first_not_of('0') != std::string::npos) held += std::string{" "} + set;
    }
    if (!held.empty()) return finding_of(Wall::capabilities, false, "not empty:" + held);
    return finding_of(Wall::capabilities, true, "all five sets are empty");
}

WallFinding no_new_privs(const std::string& status) {
    const std::vector<std::string> words = status_line(status, "NoNewPrivs");
    const bool set = words.size() == 1 && words[0] == "1";
    return finding_of(Wall::no_new_privs, set, set ? "set" : "not set");
}

WallFinding seccomp_filters(const std::string& status) {
    const std::vector<std::string> mode = status_line(status, "Seccomp");
    const std::vector<std::string> filters = status_line(status, "Seccomp_filters");  // kernel 5.9
    const int count = filters.size() == 1 ? std::atoi(filters[0].c_str()) : 0;
    if (mode.size() == 1 && mode[0] == "2" && count >= 2)
        return finding_of(Wall::seccomp_filters, true, "mode 2, " + std::to_string(count) + " filters");
    return finding_of(Wall::seccomp_filters, false, "mode " + (mode.empty() ? "?" : mode[0]) + ", " + std::to_string(count) + " filters");
}

// 0, 1 and 2, and those are pipes: nothing of the daemon, no folder, no socket.
WallFinding descriptors(pid_t pid) {
    const std::string folder = folder_of(pid) + "/fd";
    std::string wrong;
    std::size_t count = 0;
    std::error_code code;
    for (std::filesystem::directory_iterator at{folder, code}, end; !code && at != end; at.increment(code)) {
        const std::string name = at->path().filename().string();
        const std::string target = link_of(at->path().string());
        ++count;
        const bool standard = name == "0" || name == "1" || name == "2";
        if (!standard || (!target.starts_with("pipe:") && target != "/dev/null")) wrong += " " + name;
    }
    if (code || count == 0) return finding_of(Wall::descriptors, false, "they can't be read");
    if (!wrong.empty()) return finding_of(Wall::descriptors, false, "others than three pipes:" + wrong);
    return finding_of(Wall::descriptors, true, std::to_string(count) + ", all pipes");
}

struct Mount {
    std::string root, point, type;
    std::string options;  // ",rw,nosuid,"
    [[nodiscard]] bool has(const char* option) const { return options.find(std::string{","} + option + ',') != std::string::npos; }
};

// What is wrong with one mount, or nothing. Single device nodes, and /dev/null in place of a hidden file, come from
// devtmpfs; user code can't add others.
const char* fault_of(const Mount& mount) {
    if (mount.type == "devtmpfs") return mount.root == "/" ? "the host's devices" : nullptr;
    if ((mount.type == "cgroup" || mount.type == "cgroup2") && !mount.has("ro")) return "a writable cgroup tree";
    if (!mount.has("nosuid")) return "no nosuid";
    const bool devices = mount.type == "devpts" || (mount.point == "/dev" && mount.has("ro"));
    return devices || mount.has("nodev") ? nullptr : "no nodev";
}

WallFinding mount_table(pid_t pid, const std::string& secret_path) {
    auto text = sys::read_file(folder_of(pid) + "/mountinfo");
    if (!text) return finding_of(Wall::mount_table, false, "it can't be read");
    if (text->find(secret_path) != std::string::npos) return finding_of(Wall::mount_table, false, "it shows where the daemon keeps its state");
    std::istringstream lines{*text};
    std::size_t count = 0;
    for (std::string line; std::getline(lines, line); ++count) {
        std::istringstream words{line};
        std::string skipped;
        Mount mount;
        words >> skipped >> skipped >> skipped >> mount.root >> mount.point >> mount.options;
        while (words >> skipped && skipped != "-") {
        }
        words >> mount.type;
        mount.options = ',' + mount.options + ',';
        if (const char* fault = fault_of(mount)) return finding_of(Wall::mount_table, false, mount.point + ": " + fault);
    }
    return finding_of(Wall::mount_table, count > 0, std::to_string(count) + " mounts, nosuid and nodev, no path of the daemon");
}

WallFinding core_scheduling(pid_t pid) {
#ifdef PR_SCHED_CORE
    std::uint64_t cookie = 0;
    const int rc = ::prctl(PR_SCHED_CORE, PR_SCHED_CORE_GET, pid, 0 /* PIDTYPE_PID */, &cookie);
    if (rc == 0 && cookie != 0) return finding_of(Wall::core_scheduling, true, "a cookie of its own");
    const char* why = rc == 0                              ? "possible here, not used"
                      : errno_error("prctl").is_errno(ENODEV) ? "no threads share a core here"
                                                           : "this kernel has none";
#else
    const char* why = "this build knows none";
#endif
    return {Wall::core_scheduling, WallStatus::absent, why};
}

}  // namespace

std::vector<WallFinding> inspect(pid_t pid, isolation::IdMap ids, const std::string& secret_path) {
    auto text = sys::read_file(folder_of(pid) + "/status");
    const std::string status = text ? *std::move(text) : std::string{};  // of a process that is gone nothing holds
    return {namespaces(pid),         id_range(status, ids), capabilities(status),          no_new_privs(status),
            seccomp_filters(status), descriptors(pid),      mount_table(pid, secret_path), core_scheduling(pid)};
}

}  // namespace sandboxd::attest
