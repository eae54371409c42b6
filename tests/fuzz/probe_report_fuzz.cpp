#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <vector>

#include "isolation/probe/report.hpp"

// A part of a program, which is no library: compiled in here.
#include "isolation/probe/report.cpp"

// What sandbox-probe reads out of a jail, and what the monitor reads of sandbox-probe. Whatever is taken, nothing but
// printable text of bounded size goes on.
namespace {

using namespace sandboxd;

void check_text(std::string_view text) {
    if (text.size() > isolation::kMaxObserved) std::abort();
    for (const char c : text) {
        if (c < ' ' || c > '~') std::abort();
    }
}

void check_lines(std::string_view text, bool as_root) {
    probe::Reports reports;
    (void)reports.take(text, as_root);
    for (std::size_t i = 0; i < isolation::kTestedWallCount; ++i) {
        const isolation::WallReport report = reports.of(static_cast<isolation::TestedWall>(i));
        check_text(report.observed);
        if (report.status > isolation::WallStatus::broken) std::abort();
    }
}

void check_packet(const std::byte* data, std::size_t size) {
    wire::Reader reader{data, size};
    isolation::WallReport report;
    if (!reader(report) || !reader.done()) return;
    std::vector<std::byte> again(size);
    wire::Writer writer{again.data(), again.size()};
    if (!writer(report) || writer.size() != size || std::memcmp(again.data(), data, size) != 0) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text{reinterpret_cast<const char*>(data), size};
    check_lines(text, false);
    check_lines(text, true);
    check_packet(reinterpret_cast<const std::byte*>(data), size);
    return 0;
}
