#pragma once

#include <sys/types.h>

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

namespace sandboxd::isolation::test {

// A child that enters `procs` (each a cgroup.procs) and runs `body`; killed and reaped with the
// object. The body may leave early with _exit(): then the child has not entered.
class Member {
public:
    Member(const std::vector<std::string>& procs, const std::function<void()>& body);
    Member(const Member&) = delete;
    Member& operator=(const Member&) = delete;
    ~Member();
    [[nodiscard]] bool entered() const { return entered_; }
    [[nodiscard]] pid_t pid() const { return pid_; }

private:
    pid_t pid_ = -1;
    bool entered_ = false;
};

// Enters, runs, is gone: what the body returned, or -1 when it could not enter or was killed.
[[nodiscard]] int run_in(const std::vector<std::string>& procs, const std::function<int()>& body);

// For a body: takes that much memory, or leaves with 2.
void touch_memory(std::size_t bytes);

// Text of a control file without its last newline.
[[nodiscard]] std::string value(const std::string& path);

}  // namespace sandboxd::isolation::test
