#include "sandboxd/ctl/progress.hpp"

#include <unistd.h>

#include "sandboxd/ctl/console.hpp"
#include "sandboxd/ctl/units.hpp"

namespace sandboxd::ctl {

namespace {
constexpr auto kFirst = std::chrono::seconds{1};
constexpr auto kPeriod = std::chrono::milliseconds{200};
}  // namespace

Progress::~Progress() {
    if (shown_)
        (void)write_out(STDERR_FILENO, "\r\x1b[K");  // a terminal that has gone needs no wiping
}

void Progress::begin(std::string name, std::uint64_t size) {
    name_ = std::move(name);
    size_ = size;
    done_ = 0;
    ++files_;
}

void Progress::add(std::uint64_t bytes) {
    done_ += bytes;
    bytes_ += bytes;
    const auto now = Clock::now();
    if (!wanted_ || now - begin_ < kFirst || now - last_ < kPeriod) return;
    last_ = now;
    const double seconds = std::chrono::duration<double>(now - begin_).count();
    std::string line = "\r" + printable(name_) + "  " + format_bytes(done_);
    if (size_ > 0)
        line += " of " + format_bytes(size_) + " (" + std::to_string(done_ * 100 / size_) + " %)";
    line += "  " + format_bytes(static_cast<std::uint64_t>(static_cast<double>(bytes_) / seconds)) +
            "/s\x1b[K";
    shown_ = write_out(STDERR_FILENO, line).has_value();
}

}  // namespace sandboxd::ctl
