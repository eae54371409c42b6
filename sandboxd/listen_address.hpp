#pragma once

#include <sys/socket.h>

#include <string>

#include "sandboxd/core/result.hpp"

namespace sandboxd {

struct ListenAddress {
    sockaddr_storage storage{};
    socklen_t size = 0;
};

// ADDR:PORT, [v6]:PORT, localhost:PORT; port 0: any free one. Numbers only: a name would be resolved at an unknown time
// to an unknown address. invalid_argument with an example.
[[nodiscard]] Result<ListenAddress> parse_listen_address(const std::string& text);

}  // namespace sandboxd
