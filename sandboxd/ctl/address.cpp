#include "sandboxd/ctl/address.hpp"

#include <algorithm>
#include <charconv>

namespace sandboxd::ctl {

namespace {

Error bad_url(std::string_view url, std::string_view why) {
    return Error{Errc::invalid_argument, "address " + std::string{url},
                 std::string{why} +
                     ": expected something like http://127.0.0.1:8090, https://host, or "
                     "unix:///run/sandboxd.sock"};
}

bool take(std::string_view& text, std::string_view head) noexcept {
    if (!text.starts_with(head)) return false;
    text.remove_prefix(head.size());
    return true;
}

bool parse_port(std::string_view text, std::uint16_t& port) noexcept {
    const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), port);
    return code == std::errc{} && end == text.data() + text.size() && port != 0;
}

// HOST, HOST:PORT, [V6] or [V6]:PORT.
bool parse_authority(std::string_view text, Address& address) {
    if (take(text, "[")) {
        const std::size_t end = text.find(']');
        if (end == std::string_view::npos) return false;
        address.host = text.substr(0, end);
        text.remove_prefix(end + 1);
    } else {
        const std::size_t end = std::min(text.find(':'), text.size());
        address.host = text.substr(0, end);
        text.remove_prefix(end);
    }
    if (address.host.empty()) return false;
    return text.empty() || (take(text, ":") && parse_port(text, address.port));
}

bool is_plain(char c) noexcept {
    return static_cast<unsigned char>(c) > 0x20 && c != 0x7f;
}

}  // namespace

Result<Address> parse_address(std::string_view url) {
    if (!std::all_of(url.begin(), url.end(), is_plain))
        return bad_url(url, "a blank or control character in it");
    std::string_view rest = url;
    Address address;
    if (take(rest, "unix://")) {
        address.scheme = Scheme::unix_socket;
        address.socket_path = rest;
        if (!rest.starts_with('/'))
            return bad_url(url, "a Unix socket needs an absolute path (three slashes)");
        if (rest.size() > 107)
            return bad_url(url, "the path of a Unix socket has at most 107 bytes");
        return address;
    }
    if (take(rest, "https://")) {
        address.scheme = Scheme::https;
        address.port = 443;
    } else if (take(rest, "http://")) {
        address.port = 80;
    } else {
        return bad_url(url, "no scheme that is known");
    }
    const std::size_t slash = std::min(rest.find('/'), rest.size());
    if (rest.find_first_of("@?#") != std::string_view::npos)
        return bad_url(url, "only a host, a port and a path can be in it");
    if (!parse_authority(rest.substr(0, slash), address))
        return bad_url(url, "no valid host and port");
    std::string_view prefix = rest.substr(slash);
    while (prefix.ends_with('/')) prefix.remove_suffix(1);
    address.prefix = prefix;
    return address;
}

std::string host_header(const Address& address) {
    if (address.scheme == Scheme::unix_socket) return "localhost";
    const bool v6 = address.host.find(':') != std::string::npos;
    std::string out = v6 ? '[' + address.host + ']' : address.host;
    const std::uint16_t usual = address.scheme == Scheme::https ? 443 : 80;
    if (address.port != usual) out += ':' + std::to_string(address.port);
    return out;
}

std::string to_string(const Address& address) {
    if (address.scheme == Scheme::unix_socket) return "unix://" + address.socket_path;
    return (address.scheme == Scheme::https ? "https://" : "http://") + host_header(address) +
           address.prefix;
}

bool is_local(const Address& address) noexcept {
    return address.scheme == Scheme::unix_socket || address.host == "localhost" ||
           address.host == "::1" ||
           (address.host.starts_with("127.") &&
            address.host.find_first_not_of("0123456789.") == std::string::npos);
}

std::string percent_encode(std::string_view text) {
    constexpr std::string_view kHex = "0123456789ABCDEF";
    constexpr std::string_view kPlain =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    std::string out;
    for (const char c : text) {
        if (kPlain.find(c) != std::string_view::npos) {
            out += c;
            continue;
        }
        const auto value = static_cast<unsigned char>(c);
        out += '%';
        out += kHex[value >> 4];
        out += kHex[value & 15U];
    }
    return out;
}

}  // namespace sandboxd::ctl
