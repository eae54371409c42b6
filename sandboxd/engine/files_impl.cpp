#include "sandboxd/engine/files_impl.hpp"

#include <cerrno>
#include <utility>

#include "sandboxd/core/sys_io.hpp"
#include "sandboxd/engine/file_streams.hpp"

namespace sandboxd::engine {

namespace {

Result<std::string> absolute(const std::string& path, const User& user) {
    std::string out = path.empty() || path.front() != '/' ? user.home + "/" + path : path;
    if (path.empty() || path.find('\0') != std::string::npos || out.size() >= agent::kMaxPath) {
        return Error{Errc::invalid_argument, "path", "empty, too long or with a NUL in it"}.fact("field", std::string{"path"});
    }
    return out;
}

// The init tells a wrong kind of file by an errno that would read as a wrong argument.
Error file_error(Error error, const std::string& path) {
    if (error.is_errno(EINVAL) || error.is_errno(ENXIO)) return Error{Errc::conflict, "files", path + " is not a regular file"};
    if (error.is_errno(EISDIR)) return Error{Errc::conflict, "files", path + " is a directory"};
    return std::move(error).with(path);
}

agent::FileRef file_ref(const std::string& path, const User& user) {
    agent::FileRef ref;
    ref.uid = user.uid;
    ref.gid = user.gid;
    ref.path = path;
    return ref;
}

}  // namespace

Result<std::string> FilesImpl::admit(const std::string& path, const User& user) const {
    SBX_TRY(std::string out, absolute(path, user));
    SBX_CHECK(enter_());
    return out;
}

asio::awaitable<Result<std::unique_ptr<FileReader>>> FilesImpl::open(std::string path, User user, Deadline deadline) {
    SBX_CO_TRY(const std::string where, admit(path, user));
    agent::FileOpen body;
    body.mode = agent::OpenMode::read;
    body.uid = user.uid;
    body.gid = user.gid;
    body.path = where;
    auto request = agent_->request(agent::Type::file_open, body, Fd{}, deadline);
    SBX_CO_TRY(AgentReply reply, co_await std::move(request));
    auto info = reply.expect<agent::FileInfo>(agent::Type::file_opened, 1, "open");
    if (!info) co_return file_error(std::move(info).error(), where);
    Fd file = std::move(reply.fds[0]);
    SBX_CO_CHECK(check_regular(file));
    SBX_CO_TRY(FileInfo known, file_info(*info, file));
    co_return make_file_reader(pools_, std::move(file), std::move(known));
}

asio::awaitable<Result<std::unique_ptr<FileWriter>>> FilesImpl::replace(std::string path, std::uint32_t mode, User user, Deadline deadline) {
    SBX_CO_TRY(const std::string where, admit(path, user));
    agent::FileOpen body;
    body.mode = agent::OpenMode::replace;
    body.uid = user.uid;
    body.gid = user.gid;
    body.permissions = mode & 07777;
    body.make_parents = true;
    body.path = where;
    auto request = agent_->request(agent::Type::file_open, body, Fd{}, deadline);
    SBX_CO_TRY(AgentReply reply, co_await std::move(request));
    auto info = reply.expect<agent::FileInfo>(agent::Type::file_opened, 2, "replace");
    if (!info) co_return file_error(std::move(info).error(), where);
    Fd file = std::move(reply.fds[0]);
    SBX_CO_CHECK(check_regular(file));
    SBX_CO_CHECK(check_packet_socket(reply.fds[1]));
    // We write with our rights, not with the jail's: never into a file whose writing is a command.
    SBX_CO_TRY(const bool pseudo, sys::on_pseudo_file_system(file.get()));
    if (pseudo) co_return AgentReply::malformed("replace");
    SBX_CO_TRY(FileInfo known, file_info(*info, file));
    co_return make_file_writer(pools_, std::move(file), std::move(reply.fds[1]), std::move(known));
}

asio::awaitable<Result<FileInfo>> FilesImpl::stat(std::string path, User user, Deadline deadline) {
    SBX_CO_TRY(const std::string where, admit(path, user));
    auto request = agent_->request(agent::Type::file_stat, file_ref(where, user), Fd{}, deadline);
    SBX_CO_TRY(const AgentReply reply, co_await std::move(request));
    auto info = reply.expect<agent::FileInfo>(agent::Type::file_info, 0, "stat");
    if (!info) co_return std::move(info).error().with(where);
    co_return file_info(*info);
}

asio::awaitable<Result<std::unique_ptr<FileListing>>> FilesImpl::list(std::string path, std::uint32_t depth, std::uint32_t limit, User user,
                                                                      Deadline deadline) {
    SBX_CO_TRY(const std::string where, admit(path, user));
    agent::FileList body;
    body.uid = user.uid;
    body.gid = user.gid;
    body.depth = depth;
    body.limit = limit;
    body.path = where;
    auto request = agent_->request(agent::Type::file_list, body, Fd{}, deadline);
    SBX_CO_TRY(AgentReply reply, co_await std::move(request));
    if (auto begun = reply.check(agent::Type::file_listing, 1, "list"); !begun) co_return std::move(begun).error().with(where);
    SBX_CO_CHECK(check_packet_socket(reply.fds[0]));
    co_return make_file_listing(std::move(reply.fds[0]));
}

asio::awaitable<Result<void>> FilesImpl::remove(std::string path, User user, Deadline deadline) {
    SBX_CO_TRY(const std::string where, admit(path, user));
    agent::FileRef body = file_ref(where, user);
    body.recursive = true;
    auto request = agent_->command(agent::Type::file_remove, body, "remove", deadline);
    auto removed = co_await std::move(request);
    if (!removed) co_return std::move(removed).error().with(where);
    co_return Result<void>{};
}

asio::awaitable<Result<void>> FilesImpl::make_directory(std::string path, std::uint32_t mode, User user, Deadline deadline) {
    SBX_CO_TRY(const std::string where, admit(path, user));
    agent::FileRef body = file_ref(where, user);
    body.permissions = mode & 07777;
    body.recursive = true;
    auto request = agent_->command(agent::Type::file_mkdir, body, "mkdir", deadline);
    auto made = co_await std::move(request);
    if (!made) co_return std::move(made).error().with(where);
    co_return Result<void>{};
}

asio::awaitable<Result<void>> FilesImpl::rename(std::string from, std::string to, User user, Deadline deadline) {
    SBX_CO_TRY(const std::string source, admit(from, user));
    SBX_CO_TRY(const std::string target, absolute(to, user));
    agent::FileRename body;
    body.uid = user.uid;
    body.gid = user.gid;
    body.from = source;
    body.to = target;
    auto request = agent_->command(agent::Type::file_rename, body, "rename", deadline);
    auto renamed = co_await std::move(request);
    if (!renamed) co_return std::move(renamed).error().with(source + " to " + target);
    co_return Result<void>{};
}

asio::awaitable<Result<std::unique_ptr<FileWatch>>> FilesImpl::watch(std::string path, bool recursive, User user, Deadline deadline) {
    SBX_CO_TRY(const std::string where, admit(path, user));
    agent::FileWatch body;
    body.uid = user.uid;
    body.gid = user.gid;
    body.recursive = recursive;
    body.path = where;
    auto request = agent_->request(agent::Type::file_watch, body, Fd{}, deadline);
    SBX_CO_TRY(AgentReply reply, co_await std::move(request));
    if (auto begun = reply.check(agent::Type::file_listing, 1, "watch"); !begun) co_return std::move(begun).error().with(where);
    SBX_CO_CHECK(check_packet_socket(reply.fds[0]));
    co_return make_file_watch(std::move(reply.fds[0]));
}

}  // namespace sandboxd::engine
