#pragma once

#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <string>
#include <string_view>

#include "api/exchange.hpp"
#include "api/stream_encoding.hpp"
#include "sandboxd/core/result.hpp"
#include "sandboxd/engine/exec.hpp"
#include "sandboxd/engine/sandbox.hpp"

// What the handlers of execs, files and runs take from a request besides its JSON body.
namespace sandboxd::api {

// The exec that the pattern's {exec_id} names; not_found.
[[nodiscard]] Result<engine::ExecPtr> exec_of(const Exchange& exchange, engine::Sandbox& sandbox);

// Query parameters. Each names the parameter when it is malformed or out of range.
[[nodiscard]] Result<std::uint64_t> query_uint(const Exchange& exchange, std::string_view name, std::uint64_t fallback,
                                               std::uint64_t min, std::uint64_t max);
[[nodiscard]] Result<bool> query_flag(const Exchange& exchange, std::string_view name);  // true, 1 or empty; false, 0
[[nodiscard]] Result<engine::User> query_user(const Exchange& exchange);
[[nodiscard]] Result<Encoding> query_encoding(const Exchange& exchange);                 // text or base64
[[nodiscard]] Result<std::string> query_path(const Exchange& exchange);                  // required

// A path for the jail: not empty, no NUL, at most 4096 bytes. Which files it reaches is decided in the jail.
[[nodiscard]] Result<void> check_path(std::string_view field, std::string_view path);
[[nodiscard]] Result<engine::User> parse_user(std::string_view text);
// "0644" or "644": permission bits with set-id and sticky.
[[nodiscard]] Result<std::uint32_t> parse_mode(std::string_view field, std::string_view text);
// "TERM", "SIGTERM" or "15".
[[nodiscard]] Result<int> parse_signal(std::string_view field, std::string_view text);
[[nodiscard]] Result<engine::SignalScope> parse_scope(std::string_view field, std::string_view text);

// client_gone() for race().
[[nodiscard]] asio::awaitable<Result<void>> gone(Exchange& exchange);

}  // namespace sandboxd::api
