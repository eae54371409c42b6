#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "api/errors.hpp"
#include "api/exec_params.hpp"
#include "api/exec_routes.hpp"
#include "api/files_info.hpp"
#include "api/files_range.hpp"
#include "api/json.hpp"
#include "api/sandbox_ref.hpp"

namespace sandboxd::api {

namespace {

constexpr std::size_t kPiece = 256 * 1024;

Response file_head(const engine::FileInfo& info, const std::string& etag) {
    Response head;
    head.content_type = "application/octet-stream";
    head.headers = {
        {"ETag", etag},
        {"Last-Modified", http_date(info.modified)},
        {"Accept-Ranges", "bytes"},
        {"Content-Disposition", attachment(info.path)},
        {"X-Content-Type-Options", "nosniff"},  // what code wrote must not run in the origin of the API
        {"Cache-Control", "private, no-cache"},
    };
    return head;
}

// If-Range makes a range hold only for the very file that its beginning was read from.
RangeAnswer wanted_range(const Exchange& exchange, const std::string& etag, std::uint64_t size) {
    const auto header = exchange.header("Range");
    if (!header) return {};
    const auto condition = exchange.header("If-Range");
    if (condition && *condition != etag) return {};
    return parse_range(*header, size);
}

asio::awaitable<Result<void>> send_range(Exchange& exchange, engine::FileReader& reader, ByteRange range) {
    const auto buffer = std::make_unique_for_overwrite<std::byte[]>(kPiece);
    std::uint64_t sent = 0;
    while (sent < range.length) {
        const std::span<std::byte> room{buffer.get(), static_cast<std::size_t>(std::min<std::uint64_t>(kPiece, range.length - sent))};
        SBX_CO_TRY(const std::size_t got, co_await reader.read(range.first + sent, room));
        // The length is promised: a connection that breaks off is the only honest way to say that the file has shrunk.
        if (got == 0) co_return Error{Errc::conflict, "download", "the file became shorter while it was read"};
        SBX_CO_CHECK(co_await exchange.write(room.first(got)));
        sent += got;
    }
    co_return Result<void>{};
}

asio::awaitable<Result<void>> receive_body(Exchange& exchange, engine::FileWriter& writer) {
    const auto buffer = std::make_unique_for_overwrite<std::byte[]>(kPiece);
    const std::span<std::byte> room{buffer.get(), kPiece};
    while (true) {
        SBX_CO_TRY(const std::size_t got, co_await exchange.read_body(room));
        if (got == 0) co_return Result<void>{};
        SBX_CO_CHECK(co_await writer.write(room.first(got)));
    }
}

}  // namespace

asio::awaitable<Result<void>> get_file(Exchange& exchange) {
    SBX_CO_TRY(const engine::SandboxPtr sandbox, find_sandbox(exchange));
    SBX_CO_TRY(std::string path, query_path(exchange));
    SBX_CO_TRY(engine::User user, query_user(exchange));
    SBX_CO_TRY(const std::unique_ptr<engine::FileReader> reader,
               co_await sandbox->files().open(std::move(path), std::move(user), Deadline::after(kFileTimeout)));
    const engine::FileInfo info = reader->info();
    const std::string etag = etag_of(info);
    Response head = file_head(info, etag);
    if (etag_matches(exchange.header("If-None-Match").value_or(""), etag)) {
        head.status = 304;
        co_return co_await exchange.respond(std::move(head));
    }
    const RangeAnswer wanted = wanted_range(exchange, etag, info.size);
    ByteRange range{0, info.size};
    if (wanted.kind == RangeKind::unsatisfiable) {
        const std::string size = std::to_string(info.size);
        Error refusal = Error{Errc::range_not_satisfiable, "Range", "the file has " + size + " bytes"}.fact("size", static_cast<std::int64_t>(info.size));
        Response answer = error_response(refusal);
        answer.headers.emplace_back("Content-Range", "bytes */" + size);
        co_return co_await exchange.respond(std::move(answer));
    }
    if (wanted.kind == RangeKind::part) {
        range = wanted.range;
        head.status = 206;
        head.headers.emplace_back("Content-Range", "bytes " + std::to_string(range.first) + '-' +
                                                       std::to_string(range.first + range.length - 1) + '/' + std::to_string(info.size));
    }
    SBX_CO_CHECK(co_await exchange.begin(std::move(head), range.length));
    if (exchange.method() != "HEAD") SBX_CO_CHECK(co_await send_range(exchange, *reader, range));
    co_return co_await exchange.finish();
}

asio::awaitable<Result<void>> put_file(Exchange& exchange) {
    SBX_CO_TRY(const engine::SandboxPtr sandbox, find_sandbox(exchange));
    SBX_CO_TRY(const std::string path, query_path(exchange));
    SBX_CO_TRY(const engine::User user, query_user(exchange));
    SBX_CO_TRY(const std::uint32_t mode, parse_mode("mode", exchange.query("mode").value_or("0644")));
    engine::Files& files = sandbox->files();
    auto before = co_await files.stat(path, user, Deadline::after(kFileTimeout));
    if (!before && before.error().errc() != Errc::not_found) co_return std::move(before).error();
    SBX_CO_TRY(const std::unique_ptr<engine::FileWriter> writer,
               co_await files.replace(path, mode, user, Deadline::after(kFileTimeout)));
    auto received = co_await receive_body(exchange, *writer);
    if (!received) {
        // The old file stays. Who is told that the disk is full shall find the space again that this took.
        co_await writer->discard(Deadline::after(kFileTimeout));
        co_return std::move(received);
    }
    SBX_CO_TRY(const engine::FileInfo info, co_await writer->commit(Deadline::after(kFileTimeout)));
    Response response = json_response(before ? 200 : 201, file_json(info));
    response.headers.emplace_back("ETag", etag_of(info));
    co_return co_await exchange.respond(std::move(response));
}

}  // namespace sandboxd::api
