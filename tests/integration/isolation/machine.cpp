#include "machine.hpp"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <sstream>

namespace sandboxd::isolation::test {

namespace {

// File systems that every kernel with id-mapped mounts can map (5.15).
bool maps_ids(const std::string& path) {
    struct statfs st {};
    REQUIRE(::statfs(path.c_str(), &st) == 0);
    constexpr unsigned long kExt4 = 0xEF53;
    constexpr unsigned long kXfs = 0x58465342;
    constexpr unsigned long kBtrfs = 0x9123683E;
    const auto type = static_cast<unsigned long>(st.f_type);
    return type == kExt4 || type == kXfs || type == kBtrfs;
}

Fd listen_at(const std::string& path) {
    Fd listener{::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)};
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    REQUIRE(path.size() < sizeof address.sun_path);
    path.copy(address.sun_path, path.size());
    REQUIRE(::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    REQUIRE(::listen(listener.get(), 8) == 0);
    return listener;
}

}  // namespace

Machine::Machine() {
    static int counter = 0;
    std::string pattern = "/tmp/sbx-isolation-XXXXXX";
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    folder_ = pattern;
    // In a container /tmp may be an overlay. A tmpfs can be id-mapped from 6.3 on.
    own_file_system_ = !maps_ids(folder_);
    if (own_file_system_) REQUIRE(sys::mount("tmpfs", folder_.c_str(), "tmpfs", 0, "mode=0755"));
    REQUIRE(sys::chmod(folder_, 0755));
    for (const char* name : {"/upper", "/upper/u", "/upper/w", "/lower"}) {
        REQUIRE(sys::ensure_dir(folder_ + name, 0755));
    }
    root_name_ = "sandboxd-test-" + std::to_string(::getpid()) + "-" + std::to_string(counter++);
    CgroupConfig config;
    config.root_name = root_name_;
    auto driver = make_cgroup_driver(config);
    INFO((driver ? std::string{} : driver.error().message()));
    REQUIRE(driver);
    driver_ = *std::move(driver);
    auto init = sys::open(SANDBOXD_FAKE_INIT, O_PATH);
    REQUIRE(init);
    init_ = *std::move(init);
    listener_ = listen_at(folder_ + "/agent");
    const sock_filter allow{BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW};
    filters_.arguments.assign(reinterpret_cast<const char*>(&allow), sizeof allow);
    filters_.names = filters_.arguments;
}

Machine::~Machine() {
    remove_leftovers();
    const auto removed = driver_->remove_root();
    CHECK(removed);
    listener_.reset();
    if (own_file_system_) CHECK(sys::umount(folder_.c_str(), 2 /* MNT_DETACH */));
    std::error_code error;
    std::filesystem::remove_all(folder_, error);
    CHECK_FALSE(error);
}

// A test that failed half-way must not leave a jail behind, nor fail the ones after it.
void Machine::remove_leftovers() {
    const auto names = driver_->list();
    if (!names) return;
    for (const std::string& name : *names) {
        const auto cgroup = driver_->open(name);
        if (!cgroup) continue;
        (void)(*cgroup)->kill();
        for (const pid_t pid : children_of_this_process()) ::waitpid(pid, nullptr, 0);
        (void)(*cgroup)->remove();
    }
}

JailSpec Machine::spec(SandboxCgroup& cgroup, const std::string& mode) {
    JailSpec spec;
    spec.ids.base = kBase;
    spec.hostname = mode;
    spec.mounts.sources = {{FdRole::upper_mount, upper(), "", false},
                           {FdRole::lower_mount, folder_ + "/lower", "", true}};
    spec.init_binary = init_.get();
    spec.agent_listener = listener_.get();
    spec.cgroup = &cgroup;
    spec.seccomp = &filters_;
    return spec;
}

std::unique_ptr<SandboxCgroup> Machine::group(const std::string& name) {
    auto made = driver_->create(name, small_limits(), IdMap{kBase});
    INFO((made ? std::string{} : made.error().message()));
    REQUIRE(made);
    return *std::move(made);
}

std::string Machine::ask() const {
    const Fd client{::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)};
    const std::string path = folder_ + "/agent";
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, path.size());
    REQUIRE(::connect(client.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    std::string text(65536, '\0');
    const ssize_t size = ::read(client.get(), text.data(), text.size());
    REQUIRE(size > 0);
    text.resize(static_cast<std::size_t>(size));
    return text;
}

std::vector<std::string> Machine::folders_of(const std::string& name) const {
    const auto tree = read_cgroup_tree();
    REQUIRE(tree);
    std::vector<std::string> all{unified_folder(name)};
    for (const CgroupHierarchy& hierarchy : tree->v1) {
        all.push_back(hierarchy.self_folder() + "/" + root_name_ + "/" + name);
    }
    std::vector<std::string> out;
    for (const std::string& path : all) {
        if (sys::exists(path)) out.push_back(path);
    }
    return out;
}

std::string Machine::unified_folder(const std::string& name) const {
    const CgroupTree tree = get(read_cgroup_tree());
    // On v2 the daemon's folder is at the top: what holds processes hands down no controllers.
    const std::string parent =
        driver_->mode() == CgroupMode::v2 ? tree.unified->mount_point : tree.unified->self_folder();
    return parent + "/" + root_name_ + "/" + name;
}

void end(Jail& jail, SandboxCgroup& cgroup) {
    REQUIRE(cgroup.kill());
    const auto gone = run(jail.wait(Deadline::after(std::chrono::seconds{10})));
    REQUIRE(gone);
    const auto removed = cgroup.remove();
    INFO((removed ? std::string{} : removed.error().message()));
    REQUIRE(removed);
}

std::vector<pid_t> children_of_this_process() {
    const std::string self = std::to_string(::getpid());
    const auto text = sys::read_file("/proc/" + self + "/task/" + self + "/children");
    REQUIRE(text);
    std::istringstream words{*text};
    std::vector<pid_t> out;
    for (pid_t pid = 0; words >> pid;) out.push_back(pid);
    return out;
}

std::size_t open_descriptors() {
    std::size_t count = 0;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator{"/proc/self/fd"})
        ++count;
    return count;
}

}  // namespace sandboxd::isolation::test
