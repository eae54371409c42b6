#include "sandboxd/ctl/http.hpp"

#include <algorithm>
#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <limits>

#include "sandboxd/ctl/transport_impl.hpp"

namespace sandboxd::ctl {

namespace {

namespace http = boost::beast::http;

constexpr auto kConnectPatience = std::chrono::seconds{10};
constexpr auto kWritePatience = std::chrono::seconds{60};
constexpr std::size_t kPiece = 256 * 1024;
constexpr std::uint32_t kHeaderMax = 64 * 1024;

// One connection, and what of it has been read but not used.
struct Connection {
    std::unique_ptr<PlainStream> plain;
    std::unique_ptr<TlsStream> tls;
    boost::beast::flat_buffer buffer;
    bool used = false;  // has answered a request: the server may have closed it since

    [[nodiscard]] PlainStream& socket() { return tls ? tls->next_layer() : *plain; }
};

Deadline patience_of(std::chrono::milliseconds patience) {
    return patience.count() == 0 ? Deadline::never() : Deadline::after(patience);
}

Head head_of(const http::response_header<>& from) {
    Head head;
    head.status = from.result_int();
    for (const auto& field : from)
        head.headers.emplace_back(std::string{field.name_string()}, std::string{field.value()});
    return head;
}

}  // namespace

std::optional<std::string> Head::header(std::string_view name) const {
    for (const auto& [key, value] : headers) {
        if (boost::beast::iequals(key, name)) return value;
    }
    return std::nullopt;
}

struct HttpClient::Impl {
    explicit Impl(Target wanted) : target{std::move(wanted)} {}

    Result<void> open();
    template <class Stream>
    error_code send(Stream& stream, const Request& request);
    template <class Stream>
    error_code send_upload(Stream& stream, const Upload& upload);
    template <class Stream>
    Result<Head> receive(Stream& stream, const Request& request, const Receiver& receiver);
    template <class Stream>
    Result<Head> exchange_over(Stream& stream, const Request& request, const Receiver& receiver);
    [[nodiscard]] http::request_header<> header_of(const Request& request) const;

    Target target;
    asio::io_context context{1};
    std::unique_ptr<asio::ssl::context> tls;
    std::optional<Connection> connection;
    std::optional<Error> upload_failure;  // of the local end
    bool answered = false;                // the request in progress has got a part of its answer
};

Result<void> HttpClient::Impl::open() {
    const Deadline deadline = Deadline::after(kConnectPatience);
    SBX_TRY(PlainStream socket, connect(context, target.address, deadline));
    connection.emplace();
    if (target.address.scheme != Scheme::https) {
        connection->plain = std::make_unique<PlainStream>(std::move(socket));
        return Result<void>{};
    }
    if (!tls) {
        SBX_TRY(tls, make_tls(target));
    }
    auto secured = handshake(context, *tls, std::move(socket), target.address, deadline);
    if (!secured) {
        connection.reset();
        return std::move(secured).error();
    }
    connection->tls = *std::move(secured);
    return Result<void>{};
}

http::request_header<> HttpClient::Impl::header_of(const Request& request) const {
    http::request_header<> header;
    header.version(11);
    header.method_string(request.method);
    header.target(target.address.prefix + request.path);
    header.set(http::field::host, host_header(target.address));
    header.set(http::field::user_agent, "sandboxctl");
    if (!target.key.empty()) header.set(http::field::authorization, "Bearer " + target.key);
    for (const auto& [name, value] : request.headers) header.set(name, value);
    return header;
}

template <class Stream>
error_code HttpClient::Impl::send(Stream& stream, const Request& request) {
    const auto write = [&](auto&& start) {
        return complete(context, connection->socket(), Deadline::after(kWritePatience), start);
    };
    if (!request.upload) {
        http::request<http::string_body> message{header_of(request), request.body};
        if (!request.body.empty()) message.set(http::field::content_type, "application/json");
        message.prepare_payload();
        return write([&](auto done) { http::async_write(stream, message, done); });
    }
    http::request<http::empty_body> message{header_of(request)};
    message.set(http::field::content_type, "application/octet-stream");
    if (request.upload->size) {
        message.content_length(*request.upload->size);
    } else {
        message.chunked(true);
    }
    http::request_serializer<http::empty_body> serializer{message};
    const error_code ec =
        write([&](auto done) { http::async_write_header(stream, serializer, done); });
    return ec ? ec : send_upload(stream, *request.upload);
}

template <class Stream>
error_code HttpClient::Impl::send_upload(Stream& stream, const Upload& upload) {
    const auto write = [&](auto&& start) {
        return complete(context, connection->socket(), Deadline::after(kWritePatience), start);
    };
    const auto piece = std::make_unique_for_overwrite<std::byte[]>(kPiece);
    std::uint64_t left = upload.size.value_or(std::numeric_limits<std::uint64_t>::max());
    error_code ec;
    while (!ec && left > 0) {
        auto got = upload.read(
            {piece.get(), static_cast<std::size_t>(std::min<std::uint64_t>(left, kPiece))});
        if (got && *got == 0 && upload.size)
            got = Error{Errc::conflict, "upload", "the file became shorter while it was read"};
        if (!got) {
            upload_failure = std::move(got).error();
            return asio::error::operation_aborted;
        }
        const auto bytes = asio::buffer(piece.get(), *got);
        if (upload.size) {
            ec = write([&](auto done) { asio::async_write(stream, bytes, done); });
        } else if (*got == 0) {
            return write(
                [&](auto done) { asio::async_write(stream, http::make_chunk_last(), done); });
        } else {
            ec =
                write([&](auto done) { asio::async_write(stream, http::make_chunk(bytes), done); });
        }
        left -= *got;
    }
    return ec;
}

template <class Stream>
Result<Head> HttpClient::Impl::receive(Stream& stream, const Request& request,
                                       const Receiver& receiver) {
    http::response_parser<http::buffer_body> parser;
    parser.body_limit(boost::none);
    parser.header_limit(kHeaderMax);
    parser.skip(request.method == "HEAD");
    const auto head_patience =
        request.head_patience.count() > 0 ? request.head_patience : request.patience;
    error_code ec = complete(
        context, connection->socket(), patience_of(head_patience),
        [&](auto done) { http::async_read_header(stream, connection->buffer, parser, done); });
    if (ec) return connection_error(target.address, ec);
    answered = true;
    const Head head = head_of(parser.get().base());
    if (receiver.head) SBX_CHECK(receiver.head(head));
    const auto piece = std::make_unique_for_overwrite<char[]>(kPiece);
    while (!parser.is_done()) {
        parser.get().body().data = piece.get();
        parser.get().body().size = kPiece;
        ec = complete(context, connection->socket(), patience_of(request.patience), [&](auto done) {
            http::async_read_some(stream, connection->buffer, parser, done);
        });
        if (ec && ec != http::error::need_buffer) return connection_error(target.address, ec);
        const std::size_t got = kPiece - parser.get().body().size;
        if (got > 0 && receiver.data) SBX_CHECK(receiver.data({piece.get(), got}));
    }
    connection->used = true;
    if (!parser.keep_alive()) connection.reset();
    return head;
}

template <class Stream>
Result<Head> HttpClient::Impl::exchange_over(Stream& stream, const Request& request,
                                             const Receiver& receiver) {
    const error_code sent = send(stream, request);
    if (upload_failure) return *std::exchange(upload_failure, std::nullopt);
    // A server that refuses an upload answers and closes before it has read all of it: the answer
    // says more than the error.
    if (sent && !(request.upload && connection->socket().is_open()))
        return connection_error(target.address, sent);
    auto head = receive(stream, request, receiver);
    if (head && sent) connection.reset();
    return head;
}

HttpClient::HttpClient(Target target) : impl_{std::make_unique<Impl>(std::move(target))} {}
HttpClient::HttpClient(HttpClient&&) noexcept = default;
HttpClient::~HttpClient() = default;

const Target& HttpClient::target() const noexcept {
    return impl_->target;
}

Result<Head> HttpClient::exchange(const Request& request, const Receiver& receiver) {
    while (true) {
        if (!impl_->connection) SBX_CHECK(impl_->open());
        const bool reused = impl_->connection->used;
        impl_->answered = false;
        auto head = impl_->connection->tls
                        ? impl_->exchange_over(*impl_->connection->tls, request, receiver)
                        : impl_->exchange_over(*impl_->connection->plain, request, receiver);
        if (head) return head;
        impl_->connection.reset();
        // The server may have closed a kept connection meanwhile: once more on a new one, but
        // nothing that must not be done twice, and no upload, whose source can't be read twice.
        const bool repeatable = request.method != "POST" && !request.upload;
        const bool again =
            reused && repeatable && !impl_->answered && head.error().is(Errc::unavailable);
        if (!again) return head;
    }
}

}  // namespace sandboxd::ctl
