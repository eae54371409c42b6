#include "sandboxd/manager/agent_socket.hpp"

#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>
#include <string>

#include "sandboxd/core/sys.hpp"

namespace sandboxd::manager {

namespace {

constexpr int kBacklog = 4;

sockaddr_un address_of(int dir, const SandboxId& id) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string path = "/proc/self/fd/" + std::to_string(dir) + "/" + id.str();
    std::memcpy(address.sun_path, path.data(), std::min(path.size(), sizeof address.sun_path - 1));
    return address;
}

Result<Fd> make_socket() {
    Fd socket{::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
    if (!socket.valid()) return errno_error("socket");
    return socket;
}

}  // namespace

Result<Fd> listen_agent(int dir, const SandboxId& id) {
    SBX_TRY(Fd socket, make_socket());
    SBX_CHECK(remove_agent(dir, id));
    const sockaddr_un address = address_of(dir, id);
    if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
        return errno_error("bind", address.sun_path);
    }
    if (::listen(socket.get(), kBacklog) != 0) return errno_error("listen", address.sun_path);
    return socket;
}

Result<Fd> connect_agent(int dir, const SandboxId& id) {
    SBX_TRY(Fd socket, make_socket());
    const sockaddr_un address = address_of(dir, id);
    // Does not wait: the connection is made as soon as it stands in the backlog. EAGAIN: the backlog is full, because
    // the init does not accept (frozen, or stuck).
    if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
        return errno_error("connect", address.sun_path);
    }
    return socket;
}

Result<void> remove_agent(int dir, const SandboxId& id) {
    auto removed = sys::unlinkat(dir, id.str().c_str());
    if (!removed && removed.error().errc() != Errc::not_found) return removed;
    return {};
}

}  // namespace sandboxd::manager
