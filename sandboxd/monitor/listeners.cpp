#include "sandboxd/monitor/listeners.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "sandboxd/core/async.hpp"
#include "sandboxd/core/sys.hpp"
#include "sandboxd/listen_address.hpp"

namespace sandboxd::monitor {

namespace {

constexpr int kBacklog = 1024;

std::string describe(int socket) {
    sockaddr_storage storage{};
    socklen_t size = sizeof storage;
    if (::getsockname(socket, reinterpret_cast<sockaddr*>(&storage), &size) != 0) return "?";
    std::array<char, INET6_ADDRSTRLEN> text{};
    if (storage.ss_family == AF_INET6) {
        const auto* v6 = reinterpret_cast<const sockaddr_in6*>(&storage);
        ::inet_ntop(AF_INET6, &v6->sin6_addr, text.data(), text.size());
        return "[" + std::string{text.data()} + "]:" + std::to_string(ntohs(v6->sin6_port));
    }
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(&storage);
    ::inet_ntop(AF_INET, &v4->sin_addr, text.data(), text.size());
    return std::string{text.data()} + ":" + std::to_string(ntohs(v4->sin_port));
}

Result<Fd> listen_tcp(const ListenAddress& address, const std::string& text) {
    Fd socket{::socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
    if (!socket.valid()) return errno_error("socket");
    const int on = 1;
    if (::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0) return errno_error("setsockopt");
    if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address.storage), address.size) != 0) return errno_error("bind", text);
    if (::listen(socket.get(), kBacklog) != 0) return errno_error("listen", text);
    return socket;
}

Result<gid_t> group_id(const std::string& name) {
    const group* found = ::getgrnam(name.c_str());
    if (found == nullptr) return Error{Errc::invalid_argument, "socket_group", "no group " + name + " on this machine"};
    return found->gr_gid;
}

Result<Fd> listen_unix(const std::string& path, const Config& config, ApiUser user) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path) {
        return Error{Errc::invalid_argument, "socket", path + ": longer than 107 bytes; give a shorter path as `socket`"};
    }
    std::memcpy(address.sun_path, path.data(), path.size());
    Fd socket{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
    if (!socket.valid()) return errno_error("socket");
    // The state folder's lock says that no other daemon uses this path.
    auto removed = sys::unlinkat(AT_FDCWD, path.c_str());
    if (!removed && removed.error().errc() != Errc::not_found) return std::move(removed).error();
    if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return errno_error("bind", path);
    gid_t gid = user.gid;
    if (!config.socket_group.empty()) {
        SBX_TRY(gid, group_id(config.socket_group));
    }
    SBX_CHECK(sys::chownat(AT_FDCWD, path.c_str(), 0, gid));
    SBX_CHECK(sys::chmod(path, 0660));
    if (::listen(socket.get(), kBacklog) != 0) return errno_error("listen", path);
    return socket;
}

}  // namespace

asio::awaitable<Result<Listeners>> open_listeners(const Config& config, ApiUser user, Deadline deadline) {
    Listeners out;
    SBX_CO_TRY(const ListenAddress address, parse_listen_address(config.listen));
    for (;;) {
        auto tcp = listen_tcp(address, config.listen);
        if (tcp) {
            out.tcp = *std::move(tcp);
            break;
        }
        if (!tcp.error().is_errno(EADDRINUSE)) co_return std::move(tcp).error();
        if (deadline.passed()) {
            co_return Error{Errc::conflict, "listen", config.listen + " is in use by another program (`ss -ltnp` shows which): stop it, or choose another address with --listen"};
        }
        const Deadline pause = Deadline::after(std::chrono::milliseconds{50});
        SBX_CO_CHECK(co_await sleep_until(pause));
    }
    out.tcp_address = describe(out.tcp.get());
    out.unix_path = config.socket.empty() ? config.state_dir + "/sandboxd.sock" : config.socket;
    auto unix_socket = listen_unix(out.unix_path, config, user);
    if (!unix_socket && config.socket.empty() && unix_socket.error().is(Errc::invalid_argument)) {
        out.unix_path.clear();  // a state folder with a long path: TCP only, nobody asked for the socket
        co_return out;
    }
    if (!unix_socket) co_return std::move(unix_socket).error();
    out.unix_socket = *std::move(unix_socket);
    co_return out;
}

}  // namespace sandboxd::monitor
