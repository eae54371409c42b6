#include "fs/mount_table.hpp"

#include <algorithm>

#include "sandboxd/core/sys.hpp"

namespace sandboxd::fs {

namespace {

constexpr std::size_t kMaxTable = 64U << 20;  // some 100,000 mounts

bool is_octal(char c) noexcept {
    return c >= '0' && c <= '7';
}

// The kernel writes space, tab, newline and backslash as \040 and so on.
std::string unescape(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '\\' && i + 3 < text.size() && is_octal(text[i + 1]) &&
            is_octal(text[i + 2]) && is_octal(text[i + 3])) {
            const int value =
                (text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0');
            out += static_cast<char>(value);
            i += 3;
        } else {
            out += text[i];
        }
    }
    return out;
}

// Exactly one space separates two fields; a mount made with an empty source has an empty field.
std::vector<std::string_view> fields_of(std::string_view line) {
    std::vector<std::string_view> fields;
    for (;;) {
        const std::size_t end = line.find(' ');
        fields.push_back(line.substr(0, end));
        if (end == std::string_view::npos) return fields;
        line.remove_prefix(end + 1);
    }
}

Result<MountEntry> parse_line(std::string_view line) {
    // 36 35 98:0 /root /point options [optional fields ...] - type source super-options
    const std::vector<std::string_view> fields = fields_of(line);
    constexpr std::size_t kFixed = 6;
    const auto dash = fields.size() < kFixed
                          ? fields.end()
                          : std::find(fields.begin() + kFixed, fields.end(), "-");
    if (fields.end() - dash < 3) {
        return Error{Errc::protocol_error, "read mount table", std::string{line}};
    }
    return MountEntry{std::string{fields[2]}, unescape(fields[3]), unescape(fields[4]),
                      std::string{dash[1]}, unescape(dash[2])};
}

}  // namespace

Result<std::vector<MountEntry>> parse_mount_table(std::string_view text) {
    std::vector<MountEntry> table;
    while (!text.empty()) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        if (end > 0) {
            SBX_TRY(MountEntry entry, parse_line(text.substr(0, end)));
            table.push_back(std::move(entry));
        }
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return table;
}

Result<std::vector<MountEntry>> read_mount_table() {
    SBX_TRY(const std::string text, sys::read_file("/proc/self/mountinfo", kMaxTable));
    return parse_mount_table(text);
}

const MountEntry* find_mount(const std::vector<MountEntry>& table,
                             std::string_view point) noexcept {
    const auto found = std::find_if(table.rbegin(), table.rend(),
                                    [&](const MountEntry& entry) { return entry.point == point; });
    return found == table.rend() ? nullptr : &*found;
}

}  // namespace sandboxd::fs
