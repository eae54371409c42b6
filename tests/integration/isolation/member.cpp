#include "member.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "sandboxd/core/sys.hpp"
#include "tests/unit/isolation/result_printer.hpp"

namespace sandboxd::isolation::test {

namespace {

void enter(const std::vector<std::string>& procs) {
    for (const std::string& file : procs) {
        if (!sys::write_control(file, "0")) ::_exit(1);
    }
}

}  // namespace

Member::Member(const std::vector<std::string>& procs, const std::function<void()>& body) {
    int ready[2];
    REQUIRE(::pipe2(ready, O_CLOEXEC) == 0);
    pid_ = ::fork();
    REQUIRE(pid_ >= 0);
    if (pid_ == 0) {
        enter(procs);
        body();
        (void)!::write(ready[1], "r", 1);
        for (;;) ::pause();
    }
    ::close(ready[1]);
    char byte = 0;
    entered_ = ::read(ready[0], &byte, 1) == 1;
    ::close(ready[0]);
}

Member::~Member() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
}

int run_in(const std::vector<std::string>& procs, const std::function<int()>& body) {
    const pid_t pid = ::fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
        for (const std::string& file : procs) {
            if (!sys::write_control(file, "0")) ::_exit(255);
        }
        ::_exit(body());
    }
    int status = 0;
    REQUIRE(::waitpid(pid, &status, 0) == pid);
    return WIFEXITED(status) && WEXITSTATUS(status) != 255 ? WEXITSTATUS(status) : -1;
}

void touch_memory(std::size_t bytes) {
    auto* memory = static_cast<char*>(::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0));
    if (memory == MAP_FAILED) ::_exit(2);
}

std::string value(const std::string& path) {
    std::string text = get(sys::read_file(path));
    while (text.ends_with('\n')) text.pop_back();
    return text;
}

}  // namespace sandboxd::isolation::test
