#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "sandboxd/core/result.hpp"

namespace sandboxd::ctl {

enum class Scheme { http, https, unix_socket };

// Where a daemon listens. A value.
struct Address {
    Scheme scheme = Scheme::http;
    std::string host;  // a name or a number, IPv6 without brackets; empty for a Unix socket
    std::uint16_t port = 0;
    std::string socket_path;  // absolute; of a Unix socket only
    std::string
        prefix;  // path in front of /v1, behind a proxy; empty or "/x" without a slash at its end
    bool operator==(const Address&) const = default;
};

// http://HOST[:PORT][/PREFIX], https://…, unix:///PATH. invalid_argument says what is wrong, with
// an example.
[[nodiscard]] Result<Address> parse_address(std::string_view url);
[[nodiscard]] std::string to_string(const Address& address);
// The Host header's value.
[[nodiscard]] std::string host_header(const Address& address);
// The bytes sent stay on this machine.
[[nodiscard]] bool is_local(const Address& address) noexcept;

// For one segment of a path or one value of a query: everything but unreserved characters is
// escaped.
[[nodiscard]] std::string percent_encode(std::string_view text);

}  // namespace sandboxd::ctl
