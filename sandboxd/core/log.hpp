#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <variant>

#include "sandboxd/core/error.hpp"

// Structured logging: one JSON line per event on stderr.
//   log::info("sandbox started", {{"sandbox", id}, {"pid", pid}});
// Values that came from a user are escaped and cut at 1 KiB. Never log secrets, environments or code.
namespace sandboxd::log {

enum class Level { debug, info, warn, error };

class Field {
public:
    Field(std::string_view key, std::string_view value) : key_{key}, value_{std::string{value}} {}
    Field(std::string_view key, const char* value) : Field{key, std::string_view{value}} {}
    Field(std::string_view key, const std::string& value) : Field{key, std::string_view{value}} {}
    Field(std::string_view key, bool value) : key_{key}, value_{value} {}
    template <class T>
        requires std::is_integral_v<T>
    Field(std::string_view key, T value) : key_{key} {
        if constexpr (std::is_signed_v<T>) {
            value_ = static_cast<std::int64_t>(value);
        } else {
            value_ = static_cast<std::uint64_t>(value);
        }
    }
    // The message, and the place where it was made.
    Field(std::string_view key, const Error& error);

    [[nodiscard]] std::string_view key() const noexcept { return key_; }
    void append_json(std::string& out) const;

private:
    std::string_view key_;
    std::variant<std::string, std::int64_t, std::uint64_t, bool> value_;
};

using Fields = std::initializer_list<Field>;

// Call once at start, before threads. `program` is put on each line.
void init(std::string_view program, Level level);
[[nodiscard]] bool parse_level(std::string_view text, Level& out) noexcept;

void write(Level level, std::string_view event, Fields fields);
inline void debug(std::string_view event, Fields fields = {}) { write(Level::debug, event, fields); }
inline void info(std::string_view event, Fields fields = {}) { write(Level::info, event, fields); }
inline void warn(std::string_view event, Fields fields = {}) { write(Level::warn, event, fields); }
inline void error(std::string_view event, Fields fields = {}) { write(Level::error, event, fields); }

// Appends `text` as the inside of a JSON string; invalid UTF-8 becomes U+FFFD. More than `limit` bytes are cut between
// characters, and end with an ellipsis.
void append_escaped(std::string& out, std::string_view text, std::size_t limit = 1024);

}  // namespace sandboxd::log
