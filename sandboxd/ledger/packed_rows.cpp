#include "sandboxd/ledger/packed_rows.hpp"

#include <array>
#include <cstdint>

namespace sandboxd::ledger {

namespace {

constexpr char kFormat = 1;
constexpr std::size_t kFields = 11;
using Fields = std::array<std::uint64_t, kFields>;

Fields fields_of(const Reading& r) {
    const Counters& c = r.figures.counters;
    const auto bits = [](std::int64_t value) { return static_cast<std::uint64_t>(value); };
    return {bits(r.time),         c.wall_ns,           c.cpu_ns,
            c.memory_peak_bytes,  c.memory_kib_ms,     c.disk_bytes,
            c.disk_kib_ms,        c.egress_bytes,      c.gpu_ns,
            bits(r.figures.cost), bits(r.figures.book)};
}

Reading reading_of(const Fields& f) {
    return Reading{static_cast<std::int64_t>(f[0]),
                   Figures{Counters{f[1], f[2], f[3], f[4], f[5], f[6], f[7], f[8]},
                           static_cast<std::int64_t>(f[9]), static_cast<std::int64_t>(f[10])}};
}

// Differences of either sign, with small ones short: 0, -1, 1, -2 become 0, 1, 2, 3.
std::uint64_t zigzag(std::uint64_t difference) {
    return difference << 1 ^ (0 - (difference >> 63));
}
std::uint64_t unzigzag(std::uint64_t value) {
    return value >> 1 ^ (0 - (value & 1));
}

void put(std::string& out, std::uint64_t value) {
    while (value >= 0x80) {
        out += static_cast<char>(static_cast<unsigned char>(value | 0x80));
        value >>= 7;
    }
    out += static_cast<char>(static_cast<unsigned char>(value));
}

bool get(std::string_view& bytes, std::uint64_t& out) {
    out = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (bytes.empty()) return false;
        const auto byte = static_cast<std::uint8_t>(bytes.front());
        bytes.remove_prefix(1);
        if (shift == 63 && byte > 1) return false;
        out |= std::uint64_t{byte & 0x7FU} << shift;
        if (byte < 0x80) return true;
    }
    return false;
}

Error damaged() {
    return Error{Errc::internal, "ledger", "packed rows are damaged"};
}

}  // namespace

std::string pack(std::span<const Reading> rows) {
    std::string out(1, kFormat);
    Fields before{};
    for (const Reading& row : rows) {
        const Fields now = fields_of(row);
        // Unsigned, so that the difference is exact whatever the two are.
        for (std::size_t i = 0; i < kFields; ++i) put(out, zigzag(now[i] - before[i]));
        before = now;
    }
    return out;
}

Result<std::vector<Reading>> unpack(std::string_view bytes) {
    if (bytes.empty() || bytes.front() != kFormat) return damaged();
    bytes.remove_prefix(1);
    std::vector<Reading> out;
    Fields fields{};
    while (!bytes.empty()) {
        for (std::uint64_t& field : fields) {
            std::uint64_t value = 0;
            if (!get(bytes, value)) return damaged();
            field += unzigzag(value);
        }
        out.push_back(reading_of(fields));
    }
    return out;
}

}  // namespace sandboxd::ledger
