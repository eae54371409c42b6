#include "sandboxd/core/log.hpp"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <time.h>

#include <array>
#include <cstdio>

#include "sandboxd/core/assert.hpp"
#include "sandboxd/core/utf8.hpp"

namespace sandboxd::log {

namespace {

std::string program_name = "sandboxd";

spdlog::level::level_enum to_spdlog(Level level) {
    switch (level) {
        case Level::debug: return spdlog::level::debug;
        case Level::info: return spdlog::level::info;
        case Level::warn: return spdlog::level::warn;
        case Level::error: return spdlog::level::err;
    }
    return spdlog::level::info;
}

const char* name_of(Level level) {
    switch (level) {
        case Level::debug: return "debug";
        case Level::info: return "info";
        case Level::warn: return "warn";
        case Level::error: return "error";
    }
    return "info";
}

void append_time(std::string& out) {
    timespec now{};
    ::clock_gettime(CLOCK_REALTIME, &now);
    tm utc{};
    ::gmtime_r(&now.tv_sec, &utc);
    std::array<char, 40> text{};
    const std::size_t n = ::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%S", &utc);
    out.append(text.data(), n);
    std::snprintf(text.data(), text.size(), ".%03dZ", static_cast<int>(now.tv_nsec / 1'000'000));
    out += text.data();
}

}  // namespace

Field::Field(std::string_view key, const Error& error)
    : key_{key},
      value_{error.message() + " (" + error.where().file_name() + ":" + std::to_string(error.where().line()) + ")"} {}

void Field::append_json(std::string& out) const {
    if (const auto* text = std::get_if<std::string>(&value_)) {
        out += '"';
        append_escaped(out, *text);
        out += '"';
    } else if (const auto* number = std::get_if<std::int64_t>(&value_)) {
        out += std::to_string(*number);
    } else if (const auto* natural = std::get_if<std::uint64_t>(&value_)) {
        out += std::to_string(*natural);
    } else {
        out += std::get<bool>(value_) ? "true" : "false";
    }
}

void init(std::string_view program, Level level) {
    program_name = program;
    auto logger = std::make_shared<spdlog::logger>("", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    logger->set_pattern("%v");
    logger->set_level(to_spdlog(level));
    spdlog::set_default_logger(std::move(logger));
}

bool parse_level(std::string_view text, Level& out) noexcept {
    for (const Level level : {Level::debug, Level::info, Level::warn, Level::error}) {
        if (text == name_of(level)) {
            out = level;
            return true;
        }
    }
    return false;
}

void write(Level level, std::string_view event, Fields fields) {
    spdlog::logger* logger = spdlog::default_logger_raw();
    if (!logger->should_log(to_spdlog(level))) return;
    std::string line = "{\"time\":\"";
    append_time(line);
    line += "\",\"level\":\"";
    line += name_of(level);
    line += "\",\"program\":\"" + program_name + "\",\"event\":\"";
    append_escaped(line, event);
    line += '"';
    for (const Field& field : fields) {
        line += ",\"";
        append_escaped(line, field.key());
        line += "\":";
        field.append_json(line);
    }
    line += '}';
    logger->log(to_spdlog(level), line);
}

void append_escaped(std::string& out, std::string_view text, std::size_t limit) {
    const bool cut = text.size() > limit;
    if (cut) {
        text = text.substr(0, limit);
        text = text.substr(0, utf8::complete_prefix(text));
    }
    std::string valid;
    utf8::append_valid(valid, text);
    for (const char c : valid) {
        switch (c) {
            case '"': out += "\\\""; break;
            case '\\': out += "\\\\"; break;
            case '\n': out += "\\n"; break;
            case '\r': out += "\\r"; break;
            case '\t': out += "\\t"; break;
            default:
                if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
                    std::array<char, 8> hex{};
                    std::snprintf(hex.data(), hex.size(), "\\u%04x", static_cast<unsigned>(static_cast<unsigned char>(c)));
                    out += hex.data();
                } else {
                    out += c;
                }
        }
    }
    if (cut) out += "…";
}

}  // namespace sandboxd::log

namespace sandboxd {

void assertion_failed(const char* expression, const char* file, int line) noexcept {
    log::error("assertion failed", {{"expression", expression}, {"file", file}, {"line", line}});
    std::abort();
}

}  // namespace sandboxd
