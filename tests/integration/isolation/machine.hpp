#pragma once

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <optional>
#include <string>

#include "isolation/cgroup_tree.hpp"
#include "isolation/jail.hpp"
#include "sandboxd/core/sys.hpp"
#include "tests/unit/isolation/result_printer.hpp"

namespace sandboxd::isolation::test {

// Everything a launch needs, in folders and control groups of this test's own. What it made is gone
// with it.
class Machine {
public:
    Machine();
    Machine(const Machine&) = delete;
    Machine& operator=(const Machine&) = delete;
    ~Machine();

    [[nodiscard]] CgroupDriver& driver() { return *driver_; }
    [[nodiscard]] const std::string& root_name() const { return root_name_; }
    [[nodiscard]] const std::string& folder() const { return folder_; }
    [[nodiscard]] std::string upper() const { return folder_ + "/upper"; }

    // `mode`: what the fake init does, see fake_init.cpp.
    [[nodiscard]] JailSpec spec(SandboxCgroup& cgroup, const std::string& mode = "ready");
    [[nodiscard]] std::unique_ptr<SandboxCgroup> group(const std::string& name);
    // One connection to the jail's listener: what the fake init says about itself.
    [[nodiscard]] std::string ask() const;
    // The sandbox's folder in each hierarchy.
    [[nodiscard]] std::vector<std::string> folders_of(const std::string& name) const;
    [[nodiscard]] std::string unified_folder(const std::string& name) const;

    static constexpr std::uint32_t kBase = 1'000'000'000;

private:
    void remove_leftovers();

    std::string folder_;
    bool own_file_system_ = false;
    std::string root_name_;
    std::unique_ptr<CgroupDriver> driver_;
    Fd init_;
    Fd listener_;
    SeccompFilters filters_;
};

[[nodiscard]] inline CgroupLimits small_limits() {
    return {256ULL << 20, 500, 100, 0};
}

// Result has no default value, which co_spawn asks of what it hands over: so the value goes this
// way.
template <class T>
asio::awaitable<void> store(asio::awaitable<T> task, std::optional<T>& out) {
    auto value = co_await std::move(task);
    out.emplace(std::move(value));
}

// Starts `task` on `context`; what it throws is thrown by context.run().
template <class T>
void start(asio::io_context& context, asio::awaitable<T> task, std::optional<T>& out) {
    auto rethrow = [](std::exception_ptr thrown) {
        if (thrown) std::rethrow_exception(thrown);
    };
    asio::co_spawn(context, store(std::move(task), out), rethrow);
}

template <class T>
T run(asio::awaitable<T> task) {
    asio::io_context context;
    std::optional<T> out;
    start(context, std::move(task), out);
    context.run();
    return std::move(*out);
}

// Ends a jail as the manager does: kill the group, wait for PID 1, remove the folders.
void end(Jail& jail, SandboxCgroup& cgroup);
[[nodiscard]] std::vector<pid_t> children_of_this_process();
[[nodiscard]] std::size_t open_descriptors();

}  // namespace sandboxd::isolation::test
