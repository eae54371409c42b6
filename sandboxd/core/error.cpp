#include "sandboxd/core/error.hpp"

#include <cerrno>
#include <ostream>

namespace sandboxd {

namespace {

struct Category final : boost::system::error_category {
    const char* name() const noexcept override { return "sandboxd"; }
    std::string message(int value) const override {
        return std::string{to_string(static_cast<Errc>(value))};
    }
};

}  // namespace

std::string_view to_string(Errc e) noexcept {
    switch (e) {
        case Errc::invalid_argument: return "invalid_argument";
        case Errc::unauthorized: return "unauthorized";
        case Errc::forbidden: return "forbidden";
        case Errc::not_found: return "not_found";
        case Errc::method_not_allowed: return "method_not_allowed";
        case Errc::not_acceptable: return "not_acceptable";
        case Errc::conflict: return "conflict";
        case Errc::gone: return "gone";
        case Errc::node_lost: return "node_lost";
        case Errc::payload_too_large: return "payload_too_large";
        case Errc::unsupported_media: return "unsupported_media";
        case Errc::range_not_satisfiable: return "range_not_satisfiable";
        case Errc::command_not_found: return "command_not_found";
        case Errc::limit_exceeded: return "limit_exceeded";
        case Errc::tenant_quota: return "tenant_quota";
        case Errc::rate_limited: return "rate_limited";
        case Errc::node_full: return "node_full";
        case Errc::draining: return "draining";
        case Errc::incompatible: return "incompatible";
        case Errc::unavailable: return "unavailable";
        case Errc::timeout: return "timeout";
        case Errc::disk_full: return "disk_full";
        case Errc::protocol_error: return "protocol_error";
        case Errc::canceled: return "canceled";
        case Errc::internal: return "internal";
    }
    return "internal";
}

const boost::system::error_category& errc_category() noexcept {
    static const Category category;
    return category;
}

boost::system::error_code make_error_code(Errc e) noexcept {
    return {static_cast<int>(e), errc_category()};
}

Error::Error(boost::system::error_code code, std::string operation, std::string detail,
             boost::source_location where)
    : code_{code}, operation_{std::move(operation)}, detail_{std::move(detail)}, where_{where} {}

Error::Error(Errc code, std::string operation, std::string detail, boost::source_location where)
    : Error{make_error_code(code), std::move(operation), std::move(detail), where} {}

bool Error::is_errno(int e) const noexcept {
    return code_.value() == e && (code_.category() == boost::system::generic_category() ||
                                  code_.category() == boost::system::system_category());
}

Errc Error::errc() const noexcept {
    if (code_.category() == errc_category()) return static_cast<Errc>(code_.value());
    switch (code_.value()) {
        case ENOENT: case ESRCH: return Errc::not_found;
        case EACCES: case EPERM: case EROFS: return Errc::forbidden;
        case EEXIST: case EBUSY: case ENOTEMPTY: case EISDIR: case ENOTDIR: case ETXTBSY: return Errc::conflict;
        case EINVAL: case ENAMETOOLONG: case ELOOP: case ERANGE: return Errc::invalid_argument;
        case ENOSPC: case EDQUOT: return Errc::disk_full;
        case E2BIG: case EFBIG: case EMSGSIZE: return Errc::payload_too_large;
        case ETIMEDOUT: return Errc::timeout;
        case ECANCELED: return Errc::canceled;
        case EAGAIN: case ECONNREFUSED: case ECONNRESET: case EPIPE: case ENOTCONN: return Errc::unavailable;
        case EPROTO: case EBADMSG: return Errc::protocol_error;
        case ENOSYS: case EOPNOTSUPP: return Errc::incompatible;
        case EMFILE: case ENFILE: return Errc::node_full;
        default: return Errc::internal;
    }
}

Error Error::with(std::string_view context) && {
    operation_ = std::string{context} + ": " + operation_;
    return std::move(*this);
}

Error Error::fact(std::string key, Fact value) && {
    facts_.emplace_back(std::move(key), std::move(value));
    return std::move(*this);
}

std::string Error::message() const {
    std::string out = operation_;
    if (!detail_.empty()) out += (out.empty() ? "" : ": ") + detail_;
    // Our own codes say nothing that operation and detail do not; an errno does.
    if (code_.category() != errc_category()) out += (out.empty() ? "" : ": ") + code_.message();
    return out.empty() ? code_.message() : out;
}

std::ostream& operator<<(std::ostream& out, const Error& error) { return out << error.message(); }

Error errno_error(int value, std::string operation, std::string detail, boost::source_location where) {
    return Error{boost::system::error_code{value, boost::system::generic_category()},
                 std::move(operation), std::move(detail), where};
}

Error errno_error(std::string operation, std::string detail, boost::source_location where) {
    return errno_error(errno, std::move(operation), std::move(detail), where);
}

}  // namespace sandboxd
