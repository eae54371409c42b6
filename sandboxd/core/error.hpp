#pragma once

#include <boost/assert/source_location.hpp>
#include <boost/system/error_code.hpp>
#include <cstdint>
#include <iosfwd>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace sandboxd {

// What a caller can act on. errno values keep their own category (boost::system::generic_category);
// these are ours. The API maps each to one HTTP status and one `code` string (to_string below), so
// the names are part of the public contract.
enum class Errc {
    invalid_argument = 1,  // 400: malformed, unknown, of the wrong type or out of range
    unauthorized,          // 401
    forbidden,             // 403: policy says no
    not_found,             // 404
    method_not_allowed,    // 405
    not_acceptable,        // 406
    conflict,              // 409: the object is in a state that does not allow this
    gone,                  // 410: existed, is gone
    node_lost,             // 410: the id belongs to another node or an earlier epoch
    payload_too_large,     // 413
    unsupported_media,     // 415
    range_not_satisfiable, // 416
    command_not_found,     // 400: argv[0] is not in the sandbox
    limit_exceeded,        // 400: asked for more than the ceiling allows
    tenant_quota,          // 429: the tenant is at its quota
    rate_limited,          // 429
    node_full,             // 503
    draining,              // 503
    incompatible,          // 409: this host cannot do what was asked
    unavailable,           // 503: a part of the daemon is down, try again
    timeout,               // 504
    disk_full,             // 507
    protocol_error,        // 502: the peer (a jail, the monitor) broke the protocol
    canceled,              // the client went away
    internal,              // 500
};

[[nodiscard]] std::string_view to_string(Errc e) noexcept;
[[nodiscard]] const boost::system::error_category& errc_category() noexcept;
[[nodiscard]] boost::system::error_code make_error_code(Errc e) noexcept;

// A failure with enough context to cure it. A value; cheap to move.
// `operation` is what was attempted ("mount"), `detail` on what ("/proc"); `message()` joins them.
class Error {
public:
    using Fact = std::variant<std::int64_t, std::string>;

    Error() : Error{Errc::internal, {}} {}  // boost::system::result asks for one; never the value of a real failure
    Error(boost::system::error_code code, std::string operation, std::string detail = {},
          boost::source_location where = BOOST_CURRENT_LOCATION);
    Error(Errc code, std::string operation, std::string detail = {},
          boost::source_location where = BOOST_CURRENT_LOCATION);

    [[nodiscard]] const boost::system::error_code& code() const noexcept { return code_; }
    [[nodiscard]] const std::string& operation() const noexcept { return operation_; }
    [[nodiscard]] const std::string& detail() const noexcept { return detail_; }
    [[nodiscard]] const boost::source_location& where() const noexcept { return where_; }
    [[nodiscard]] bool is(Errc e) const noexcept { return code_ == make_error_code(e); }
    [[nodiscard]] bool is_errno(int e) const noexcept;
    // The Errc, or the nearest one to an errno (ENOENT -> not_found, ENOSPC/EDQUOT -> disk_full, ...).
    [[nodiscard]] Errc errc() const noexcept;

    // Adds context on the way up: "launching x: mount /proc: Operation not permitted".
    [[nodiscard]] Error with(std::string_view context) &&;
    // Machine-readable facts for the caller: {"limit": "memory_mb", "asked": 9000, "allowed": 4096}.
    [[nodiscard]] Error fact(std::string key, Fact value) &&;
    [[nodiscard]] const std::vector<std::pair<std::string, Fact>>& facts() const noexcept { return facts_; }

    // For people: operation, detail and the reason.
    [[nodiscard]] std::string message() const;

private:
    boost::system::error_code code_;
    std::string operation_;
    std::string detail_;
    boost::source_location where_;
    std::vector<std::pair<std::string, Fact>> facts_;
};

std::ostream& operator<<(std::ostream& out, const Error& error);  // message(), for tests

// The error of a failed system call, from errno as it stands.
[[nodiscard]] Error errno_error(std::string operation, std::string detail = {},
                                boost::source_location where = BOOST_CURRENT_LOCATION);
[[nodiscard]] Error errno_error(int value, std::string operation, std::string detail = {},
                                boost::source_location where = BOOST_CURRENT_LOCATION);

}  // namespace sandboxd
