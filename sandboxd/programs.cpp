#include "sandboxd/programs.hpp"

#include <unistd.h>

#include <array>

#include "sandboxd/core/sys.hpp"

namespace sandboxd {

Result<std::string> find_program(std::string_view name) {
    std::array<char, 4096> self{};
    const ssize_t n = ::readlink("/proc/self/exe", self.data(), self.size());
    if (n < 0) return errno_error("readlink", "/proc/self/exe");
    std::string here{self.data(), static_cast<std::size_t>(n)};
    here.resize(here.rfind('/') + 1);
    for (const std::string& folder : {here, std::string{"/usr/libexec/sandboxd/"}}) {
        const std::string path = folder + std::string{name};
        if (sys::exists(path)) return path;
    }
    return Error{Errc::not_found, std::string{name}, "is neither in " + here + " nor in /usr/libexec/sandboxd: install the whole package"};
}

}  // namespace sandboxd
