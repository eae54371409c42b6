#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sandboxd/core/result.hpp"
#include "sandboxd/ctl/target.hpp"

namespace sandboxd::ctl {

struct Head {
    unsigned status = 0;
    std::vector<std::pair<std::string, std::string>> headers;
    [[nodiscard]] std::optional<std::string> header(std::string_view name) const;  // any case
};

// A body that is read as it is sent; in chunks when its size is not known.
struct Upload {
    std::optional<std::uint64_t> size;
    std::function<Result<std::size_t>(std::span<std::byte>)>
        read;  // 0: the end; with a size, before it, an error
};

struct Request {
    std::string method = "GET";
    std::string path;  // with its query, percent-encoded
    std::vector<std::pair<std::string, std::string>> headers;
    std::string body;  // JSON
    std::optional<Upload> upload;
    // How long nothing may come before that is an error. Zero: for ever, as for a program whose end
    // is waited for.
    std::chrono::milliseconds patience{60'000};
    // The same for the head of the answer, where that comes long before its body's end. Zero: as
    // above.
    std::chrono::milliseconds head_patience{0};
};

// What takes the answer. An error that one of them returns ends the exchange and is the result.
struct Receiver {
    std::function<Result<void>(const Head&)> head;
    std::function<Result<void>(std::string_view)> data;  // as it arrives
};

// Blocking HTTP/1.1 to one daemon over TCP, TLS or a Unix socket. The connection is kept for the
// next request. Authenticates itself. One thread.
class HttpClient {
public:
    explicit HttpClient(Target target);
    HttpClient(HttpClient&&) noexcept;
    ~HttpClient();

    // Any status is a success here. unavailable when no daemon answers, with the cure.
    [[nodiscard]] Result<Head> exchange(const Request& request, const Receiver& receiver);
    [[nodiscard]] const Target& target() const noexcept;

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace sandboxd::ctl
