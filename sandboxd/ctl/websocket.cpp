#include "sandboxd/ctl/websocket.hpp"

#include <boost/asio/buffer.hpp>
#include <boost/asio/ssl/error.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/websocket.hpp>
#include <boost/beast/websocket/ssl.hpp>

#include "sandboxd/ctl/api_client.hpp"
#include "sandboxd/ctl/transport_impl.hpp"

namespace sandboxd::ctl {

namespace {

namespace http = boost::beast::http;
namespace websocket = boost::beast::websocket;

constexpr std::size_t kMessageMax = std::size_t{64} << 20;
constexpr std::size_t kWriteBuffer = std::size_t{64} << 10;
constexpr auto kHandshake = std::chrono::seconds{30};
constexpr auto kSilence =
    std::chrono::seconds{30};  // then pings; a peer that answers none has gone

template <class Stream>
class Link final : public WebSocketLink, public std::enable_shared_from_this<Link<Stream>> {
public:
    template <class... Arguments>
    explicit Link(std::unique_ptr<asio::ssl::context> tls, Arguments&&... arguments)
        : tls_{std::move(tls)}, stream_{std::forward<Arguments>(arguments)...} {}

    Result<void> upgrade(asio::io_context& context, const Target& target, const std::string& path,
                         Deadline deadline);
    void read(std::function<void(Result<Message>)> done) override;
    void write(Message message, std::function<void(Result<void>)> done) override;
    void close() override;
    void abandon();

private:
    Error end_of(error_code code) const;

    std::unique_ptr<asio::ssl::context> tls_;
    websocket::stream<Stream> stream_;
    boost::beast::flat_buffer buffer_;
    Message outgoing_;
    bool abandoned_ = false;  // the owner has gone: nobody to call
};

PlainStream& socket_of(PlainStream& stream) {
    return stream;
}
PlainStream& socket_of(TlsStream& stream) {
    return stream.next_layer();
}

template <class Stream>
Result<void> Link<Stream>::upgrade(asio::io_context& context, const Target& target,
                                   const std::string& path, Deadline deadline) {
    websocket::stream_base::timeout timeout{};
    timeout.handshake_timeout = kHandshake;
    timeout.idle_timeout = kSilence;
    timeout.keep_alive_pings = true;
    stream_.set_option(timeout);
    stream_.set_option(
        websocket::stream_base::decorator([&target](websocket::request_type& request) {
            request.set(http::field::user_agent, "sandboxctl");
            if (!target.key.empty())
                request.set(http::field::authorization, "Bearer " + target.key);
        }));
    stream_.read_message_max(kMessageMax);
    stream_.auto_fragment(false);
    stream_.write_buffer_bytes(kWriteBuffer);  // what is masked and sent at a time
    websocket::response_type answer;
    const std::string host = host_header(target.address);
    const std::string resource = target.address.prefix + path;
    const error_code ec =
        complete(context, socket_of(stream_.next_layer()), deadline,
                 [&](auto done) { stream_.async_handshake(answer, host, resource, done); });
    if (!ec) return Result<void>{};
    if (ec == websocket::error::upgrade_declined) {
        return explain_unauthorized(error_of_answer(answer.result_int(), answer.body()), target);
    }
    return connection_error(target.address, ec);
}

template <class Stream>
Error Link<Stream>::end_of(error_code code) const {
    if (code != websocket::error::closed)
        return Error{Errc::unavailable, "the connection was lost", code.message()};
    const auto reason = stream_.reason();
    if (reason.code == websocket::close_code::normal) return Error{Errc::canceled, "closed"};
    if (reason.code == websocket::close_code::going_away ||
        reason.code == websocket::close_code::service_restart) {
        return Error{Errc::unavailable, "the daemon is being stopped"};
    }
    const std::string text{reason.reason.data(), reason.reason.size()};
    return Error{Errc::conflict,
                 text.empty() ? "closed with code " + std::to_string(reason.code) : text};
}

template <class Stream>
void Link<Stream>::read(std::function<void(Result<Message>)> done) {
    buffer_.clear();
    stream_.async_read(buffer_, [self = this->shared_from_this(), done = std::move(done)](
                                    error_code ec, std::size_t) {
        if (self->abandoned_) return;
        if (ec) return done(self->end_of(ec));
        const auto bytes = self->buffer_.cdata();
        done(Message{self->stream_.got_binary(),
                     {static_cast<const char*>(bytes.data()), bytes.size()}});
    });
}

template <class Stream>
void Link<Stream>::write(Message message, std::function<void(Result<void>)> done) {
    outgoing_ = std::move(message);
    stream_.binary(outgoing_.binary);
    stream_.async_write(
        asio::buffer(outgoing_.data),
        [self = this->shared_from_this(), done = std::move(done)](error_code ec, std::size_t) {
            if (self->abandoned_) return;
            done(ec ? Result<void>{self->end_of(ec)} : Result<void>{});
        });
}

template <class Stream>
void Link<Stream>::close() {
    stream_.async_close(websocket::close_code::normal,
                        [self = this->shared_from_this()](error_code) {});
}

template <class Stream>
void Link<Stream>::abandon() {
    abandoned_ = true;
    error_code ignored;  // what waits ends with an error that nobody hears
    socket_of(stream_.next_layer()).close(ignored);
}

// Handlers in flight share the link; the owner's end of it says when it is over.
template <class Stream>
class Owner final : public WebSocketLink {
public:
    explicit Owner(std::shared_ptr<Link<Stream>> link) : link_{std::move(link)} {}
    Owner(const Owner&) = delete;
    Owner& operator=(const Owner&) = delete;
    ~Owner() override { link_->abandon(); }

    void read(std::function<void(Result<Message>)> done) override { link_->read(std::move(done)); }
    void write(Message message, std::function<void(Result<void>)> done) override {
        link_->write(std::move(message), std::move(done));
    }
    void close() override { link_->close(); }

private:
    std::shared_ptr<Link<Stream>> link_;
};

}  // namespace

Result<std::unique_ptr<WebSocketLink>> WebSocketLink::open(asio::io_context& context,
                                                           const Target& target,
                                                           const std::string& path,
                                                           Deadline deadline) {
    SBX_TRY(PlainStream socket, connect(context, target.address, deadline));
    if (target.address.scheme != Scheme::https) {
        auto link = std::make_shared<Link<PlainStream>>(nullptr, std::move(socket));
        SBX_CHECK(link->upgrade(context, target, path, deadline));
        return std::unique_ptr<WebSocketLink>{
            std::make_unique<Owner<PlainStream>>(std::move(link))};
    }
    SBX_TRY(std::unique_ptr<asio::ssl::context> tls, make_tls(target));
    SBX_TRY(const std::unique_ptr<TlsStream> stream,
            handshake(context, *tls, std::move(socket), target.address, deadline));
    auto link = std::make_shared<Link<TlsStream>>(std::move(tls), std::move(*stream));
    SBX_CHECK(link->upgrade(context, target, path, deadline));
    return std::unique_ptr<WebSocketLink>{std::make_unique<Owner<TlsStream>>(std::move(link))};
}

}  // namespace sandboxd::ctl
