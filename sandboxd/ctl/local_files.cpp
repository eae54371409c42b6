#include "sandboxd/ctl/local_files.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <memory>
#include <span>

#include "sandboxd/core/sys.hpp"
#include "sandboxd/ctl/units.hpp"

namespace sandboxd::ctl {

namespace {
constexpr std::size_t kPiece = 64 * 1024;
}

Result<std::string> read_input(const std::string& path, std::size_t most) {
    Fd file;
    if (path != "-") {
        SBX_TRY(file, sys::open(path, O_RDONLY));
    }
    const int fd = path == "-" ? STDIN_FILENO : file.get();
    const auto piece = std::make_unique_for_overwrite<std::byte[]>(kPiece);
    std::string out;
    while (true) {
        auto got = sys::read_some(fd, {piece.get(), kPiece});
        if (!got) return std::move(got).error().with(path == "-" ? "standard input" : path);
        if (*got == 0) return out;
        if (out.size() + *got > most) {
            return Error{
                Errc::payload_too_large, path,
                "more than " + format_bytes(most) + ": copy it into a sandbox with sandboxctl cp"};
        }
        out.append(reinterpret_cast<const char*>(piece.get()), *got);
    }
}

}  // namespace sandboxd::ctl
