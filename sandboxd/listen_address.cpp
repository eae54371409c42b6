#include "sandboxd/listen_address.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <charconv>

namespace sandboxd {

Result<ListenAddress> parse_listen_address(const std::string& text) {
    const auto bad = [&] {
        return Error{Errc::invalid_argument, "listen",
                     text + ": expected ADDRESS:PORT, for example 127.0.0.1:8090 or [::1]:8090"};
    };
    const auto colon = text.rfind(':');
    if (colon == std::string::npos) return bad();
    std::uint16_t port = 0;
    const char* end = text.data() + text.size();
    const auto [ptr, ec] = std::from_chars(text.data() + colon + 1, end, port);
    if (ec != std::errc{} || ptr != end) return bad();
    std::string host = text.substr(0, colon);
    ListenAddress out;
    if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
        auto* v6 = reinterpret_cast<sockaddr_in6*>(&out.storage);
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        out.size = sizeof *v6;
        if (::inet_pton(AF_INET6, host.substr(1, host.size() - 2).c_str(), &v6->sin6_addr) != 1) return bad();
        return out;
    }
    auto* v4 = reinterpret_cast<sockaddr_in*>(&out.storage);
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    out.size = sizeof *v4;
    if (host == "localhost") host = "127.0.0.1";
    if (::inet_pton(AF_INET, host.c_str(), &v4->sin_addr) != 1) return bad();
    return out;
}

}  // namespace sandboxd
