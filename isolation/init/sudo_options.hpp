#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace sandboxd::init {

// What a command line of sudo(8) asks for. Points into argv.
struct SudoOptions {
    enum class Mode : std::uint8_t { run, list, validate, forget, version, help };
    Mode mode = Mode::run;
    const char* user = "root";
    const char* group = nullptr;
    const char* folder = nullptr;         // -D
    const char* preserved = nullptr;      // --preserve-env=A,B
    bool preserve_all = false;            // -E
    bool set_home = false;                // -H
    bool login = false;                   // -i
    bool shell = false;                   // -s
    char** rest = nullptr;                // VAR=value... and the command; null-terminated
};

// False after a message on stderr: an option that is unknown or that can't be done here.
bool parse_sudo_options(char** argv, SudoOptions& out);

// A line of /etc/passwd, with buffers of its own.
struct SudoUser {
    std::uint32_t uid = 0;
    std::uint32_t gid = 0;
    char name[64] = "root";
    char home[256] = "/root";
    char shell[256] = "/bin/sh";
};
// By name or "#uid". A number needs no line.
bool find_user(const char* text, SudoUser& out);
bool find_user_by_id(std::uint32_t uid, SudoUser& out);
// By name or "#gid", in /etc/group.
bool find_group(const char* text, std::uint32_t& gid);

// Whether a variable of the caller's stays without being asked for: what says how to talk to him, and what every program
// in a sandbox is given.
bool keeps_variable(std::string_view name);
// Whether `name` is in a list separated by commas.
bool is_listed(std::string_view name, std::string_view list);

}  // namespace sandboxd::init
