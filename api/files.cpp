#include <array>
#include <nlohmann/json.hpp>
#include <utility>

#include "api/exec_params.hpp"
#include "api/exec_routes.hpp"
#include "api/files_info.hpp"
#include "api/json.hpp"
#include "api/sandbox_ref.hpp"
#include "api/stream_encoding.hpp"
#include "sandboxd/core/clock.hpp"

namespace sandboxd::api {

namespace {

using nlohmann::json;

constexpr std::uint64_t kDepthMax = 64;
constexpr std::uint64_t kEntriesMax = 10'000;

std::string octal(std::uint32_t mode) {
    std::string out = "0000";
    for (std::size_t i = 0; i < 4; ++i) out[3 - i] = static_cast<char>('0' + (mode >> (3 * i) & 7U));
    return out;
}

asio::awaitable<Result<void>> delete_file(Exchange& exchange) {
    SBX_CO_TRY(const engine::SandboxPtr sandbox, find_sandbox(exchange));
    SBX_CO_TRY(std::string path, query_path(exchange));
    SBX_CO_TRY(engine::User user, query_user(exchange));
    SBX_CO_CHECK(co_await sandbox->files().remove(std::move(path), std::move(user), Deadline::after(kFileTimeout)));
    Response response;
    response.status = 204;
    co_return co_await exchange.respond(std::move(response));
}

asio::awaitable<Result<void>> list_files(Exchange& exchange) {
    SBX_CO_TRY(const engine::SandboxPtr sandbox, find_sandbox(exchange));
    const std::string path = exchange.query("path").value_or(".");
    SBX_CO_CHECK(check_path("path", path));
    SBX_CO_TRY(engine::User user, query_user(exchange));
    SBX_CO_TRY(const std::uint64_t depth, query_uint(exchange, "depth", 1, 1, kDepthMax));
    SBX_CO_TRY(const std::uint64_t limit, query_uint(exchange, "limit", 1000, 1, kEntriesMax));
    const Deadline deadline = Deadline::after(kFileTimeout);
    SBX_CO_TRY(const std::unique_ptr<engine::FileListing> listing,
               co_await sandbox->files().list(path, static_cast<std::uint32_t>(depth), static_cast<std::uint32_t>(limit),
                                              std::move(user), deadline));
    // Written entry by entry: as values a long listing takes many times the memory of its text.
    std::string entries;
    while (true) {
        SBX_CO_TRY(const std::optional<engine::FileInfo> entry, co_await listing->next(deadline));
        if (!entry) break;
        if (!entries.empty()) entries += ',';
        entries += file_json(*entry).dump();
    }
    const json rest = {{"path", encode(path, Encoding::text)}, {"truncated", listing->truncated()}};
    Response response;
    response.body = rest.dump();
    response.body.back() = ',';  // was the closing brace
    response.body += "\"entries\":[" + entries + "]}";
    co_return co_await exchange.respond(std::move(response));
}

asio::awaitable<Result<void>> respond_info(Exchange& exchange, engine::Sandbox& sandbox, std::string path, engine::User user,
                                           unsigned status) {
    SBX_CO_TRY(const engine::FileInfo info,
               co_await sandbox.files().stat(std::move(path), std::move(user), Deadline::after(kFileTimeout)));
    Response response = json_response(status, file_json(info));
    co_return co_await exchange.respond(std::move(response));
}

asio::awaitable<Result<void>> stat_file(Exchange& exchange) {
    SBX_CO_TRY(const engine::SandboxPtr sandbox, find_sandbox(exchange));
    SBX_CO_TRY(std::string path, query_path(exchange));
    SBX_CO_TRY(engine::User user, query_user(exchange));
    co_return co_await respond_info(exchange, *sandbox, std::move(path), std::move(user), 200);
}

constexpr Field kUserField{.name = "user", .description = "With whose rights: user, root, UID or UID:GID.", .min = 1, .max = 64,
                           .default_text = "user"};
constexpr std::array kMkdirFields{
    Field{.name = "path", .required = true, .description = "The folder to make; parents are made too.", .min = 1, .max = 4095},
    Field{.name = "mode", .description = "Permission bits in octal.", .min = 1, .max = 5, .default_text = "0755"},
    kUserField,
};
constexpr Schema kMkdirSchema{"MakeDirectoryRequest", kMkdirFields};
constexpr std::array kMoveFields{
    Field{.name = "from", .required = true, .description = "What to move.", .min = 1, .max = 4095},
    Field{.name = "to", .required = true, .description = "Its new path.", .min = 1, .max = 4095},
    kUserField,
};
constexpr Schema kMoveSchema{"MoveRequest", kMoveFields};

Result<engine::User> user_of(const json& body) {
    if (!body.contains("user")) return engine::User{};
    return parse_user(body["user"].get_ref<const std::string&>());
}

asio::awaitable<Result<void>> make_directory(Exchange& exchange) {
    SBX_CO_TRY(const engine::SandboxPtr sandbox, find_sandbox(exchange));
    SBX_CO_TRY(const std::string text, co_await exchange.body());
    SBX_CO_TRY(const json body, parse_json(text, kMkdirSchema));
    const std::string path = body["path"].get<std::string>();
    SBX_CO_CHECK(check_path("path", path));
    SBX_CO_TRY(const std::uint32_t mode, parse_mode("mode", body.value("mode", "0755")));
    SBX_CO_TRY(const engine::User user, user_of(body));
    SBX_CO_CHECK(co_await sandbox->files().make_directory(path, mode, user, Deadline::after(kFileTimeout)));
    co_return co_await respond_info(exchange, *sandbox, path, user, 201);
}

asio::awaitable<Result<void>> move_file(Exchange& exchange) {
    SBX_CO_TRY(const engine::SandboxPtr sandbox, find_sandbox(exchange));
    SBX_CO_TRY(const std::string text, co_await exchange.body());
    SBX_CO_TRY(const json body, parse_json(text, kMoveSchema));
    const std::string from = body["from"].get<std::string>();
    const std::string to = body["to"].get<std::string>();
    SBX_CO_CHECK(check_path("from", from));
    SBX_CO_CHECK(check_path("to", to));
    SBX_CO_TRY(const engine::User user, user_of(body));
    SBX_CO_CHECK(co_await sandbox->files().rename(from, to, user, Deadline::after(kFileTimeout)));
    co_return co_await respond_info(exchange, *sandbox, to, user, 200);
}

constexpr std::array kInfoFields{
    Field{.name = "path", .required = true, .description = "Absolute; in a listing relative to the folder."},
    Field{.name = "name", .required = true, .description = "The path's last part."},
    Field{.name = "type", .required = true, .description = "file, directory, symlink, fifo, socket, character, block or other."},
    Field{.name = "size", .type = Type::integer, .required = true, .description = "In bytes."},
    Field{.name = "mode", .required = true, .description = "Permission bits in octal."},
    Field{.name = "uid", .type = Type::integer, .required = true, .description = "Owner."},
    Field{.name = "gid", .type = Type::integer, .required = true, .description = "Group."},
    Field{.name = "modified_at", .required = true, .description = "RFC 3339, UTC."},
    Field{.name = "target", .description = "Of a symlink."},
};
constexpr Schema kInfoSchema{"FileInfo", kInfoFields, true};
constexpr std::array kListingFields{
    Field{.name = "path", .required = true, .description = "The folder, as it was asked for."},
    Field{.name = "entries", .type = Type::object_array, .required = true, .description = "What is in it.", .object = &kInfoSchema},
    Field{.name = "truncated", .type = Type::boolean, .required = true, .description = "There is more than the limit allowed."},
};
constexpr Schema kListingSchema{"FileListing", kListingFields, true};

constexpr Field kPathField{.name = "path", .required = true, .description = "In the sandbox; a relative one starts at the user's home.",
                           .min = 1, .max = 4095};
constexpr std::array kPathQuery{kPathField, kUserField};
constexpr std::array kPutQuery{
    kPathField, kUserField,
    Field{.name = "mode", .description = "Permission bits in octal of a new file; an existing one keeps its own.", .min = 1, .max = 5,
          .default_text = "0644"},
};
constexpr std::array kListQuery{
    Field{.name = "path", .description = "The folder.", .min = 1, .max = 4095, .default_text = "the user's home"}, kUserField,
    Field{.name = "depth", .type = Type::integer, .description = "Levels of folders.", .min = 1, .max = double(kDepthMax), .default_text = "1"},
    Field{.name = "limit", .type = Type::integer, .description = "Entries.", .min = 1, .max = double(kEntriesMax), .default_text = "1000"},
};
constexpr std::array kWatchQuery{
    kPathField, kUserField,
    Field{.name = "recursive", .type = Type::boolean, .description = "Folders below it too.", .default_text = "false"},
};

constexpr std::array kRoutes{
    Route{.method = "GET", .pattern = "/v1/sandboxes/{id}/files", .handler = get_file, .operation_id = "readFile",
          .summary = "Download a file of any size; Range, If-Range and If-None-Match are honoured.", .query = kPathQuery,
          .response_type = "application/octet-stream"},
    Route{.method = "PUT", .pattern = "/v1/sandboxes/{id}/files", .handler = put_file, .operation_id = "writeFile",
          .summary = "Upload a file of any size as the body. It replaces the old one as a whole when all of it has arrived; an upload that "
                     "breaks off changes nothing. 201 for a new file.",
          .query = kPutQuery, .response = &kInfoSchema, .streams_body = true},
    Route{.method = "DELETE", .pattern = "/v1/sandboxes/{id}/files", .handler = delete_file, .operation_id = "deleteFile",
          .summary = "Delete a file, or a folder with all that is in it.", .query = kPathQuery, .success = 204},
    Route{.method = "GET", .pattern = "/v1/sandboxes/{id}/files/list", .handler = list_files, .operation_id = "listFiles",
          .summary = "What is in a folder.", .query = kListQuery, .response = &kListingSchema},
    Route{.method = "GET", .pattern = "/v1/sandboxes/{id}/files/stat", .handler = stat_file, .operation_id = "statFile",
          .summary = "What a path is.", .query = kPathQuery, .response = &kInfoSchema},
    Route{.method = "POST", .pattern = "/v1/sandboxes/{id}/files/mkdir", .handler = make_directory, .operation_id = "makeDirectory",
          .summary = "Make a folder, and its parents.", .body = &kMkdirSchema, .response = &kInfoSchema, .success = 201},
    Route{.method = "POST", .pattern = "/v1/sandboxes/{id}/files/move", .handler = move_file, .operation_id = "moveFile",
          .summary = "Give a file or a folder another path.", .body = &kMoveSchema, .response = &kInfoSchema},
    Route{.method = "GET", .pattern = "/v1/sandboxes/{id}/files/watch", .handler = watch_files, .operation_id = "watchFiles",
          .summary = "WebSocket: an event for each change in a folder.", .query = kWatchQuery, .success = 101},
};

}  // namespace

json file_json(const engine::FileInfo& info) {
    const std::string path = encode(info.path, Encoding::text);
    json out = {
        {"path", path},
        {"name", path.substr(path.rfind('/') + 1)},
        {"type", engine::to_string(info.kind)},
        {"size", info.size},
        {"mode", octal(info.mode)},
        {"uid", info.uid},
        {"gid", info.gid},
        {"modified_at", to_rfc3339(info.modified)},
    };
    if (info.kind == engine::FileKind::symlink) out["target"] = encode(info.target, Encoding::text);
    return out;
}

std::span<const Route> files_routes() noexcept { return kRoutes; }

}  // namespace sandboxd::api
