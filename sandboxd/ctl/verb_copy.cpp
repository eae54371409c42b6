#include <fcntl.h>
#include <unistd.h>
#include <CLI/CLI.hpp>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "sandboxd/core/sys.hpp"
#include "sandboxd/ctl/answer.hpp"
#include "sandboxd/ctl/console.hpp"
#include "sandboxd/ctl/local_tree.hpp"
#include "sandboxd/ctl/progress.hpp"
#include "sandboxd/ctl/remote_path.hpp"
#include "sandboxd/ctl/session.hpp"

namespace sandboxd::ctl {

namespace {

using nlohmann::json;

constexpr int kEntries = 10'000;  // the most of one folder that the daemon lists

struct CopyOptions {
    std::string from;
    std::string to;
    std::string user;
};

std::string octal(std::uint32_t mode) {
    std::string out = "0000";
    for (std::size_t i = 0; i < 4; ++i)
        out[3 - i] = static_cast<char>('0' + (mode >> (3 * i) & 7U));
    return out;
}

std::uint32_t mode_of(const json& info) {
    std::uint32_t mode = 0;
    for (const char c : text_of(info, "mode"))
        mode = mode * 8 + static_cast<std::uint32_t>(c - '0');
    return mode;
}

// One copy: the sandbox's end of it, and how far it is.
class Copy {
public:
    Copy(ApiClient& api, RemotePath remote, std::string user, bool quiet)
        : api_{api},
          remote_{std::move(remote)},
          user_{std::move(user)},
          progress_{!quiet && is_terminal(STDERR_FILENO)} {}

    Result<void> upload(const std::string& from);
    Result<void> download(const std::string& to);
    [[nodiscard]] json summary() const {
        return {{"files", progress_.files()}, {"bytes", progress_.bytes()}};
    }

private:
    // The path of a call on the sandbox's files, with its query.
    [[nodiscard]] std::string files(const std::string& call, const std::string& path,
                                    const std::string& more = {}) const {
        const std::string as = user_.empty() ? "" : "&user=" + percent_encode(user_);
        return sandbox_path(remote_.sandbox,
                            "files" + call + "?path=" + percent_encode(path) + more + as);
    }
    Result<json> stat(const std::string& path) { return api_.get(files("/stat", path)); }
    Result<void> make_directory(const std::string& path, std::uint32_t mode);
    Result<void> make_symlink(const std::string& path, const std::string& target);
    Result<void> put(int fd, std::optional<std::uint64_t> size, const std::string& path,
                     std::uint32_t mode);
    Result<void> get(const std::string& path, int fd, std::uint64_t size);
    Result<void> download_file(const json& info, const std::string& to);
    Result<void> download_folder(LocalFolder& folder, const std::string& inside,
                                 std::vector<std::pair<std::string, std::string>>& links);
    Result<void> download_tree(const std::string& to);
    Result<std::string> target_of(const std::string& local);

    ApiClient& api_;
    RemotePath remote_;
    std::string user_;
    Progress progress_;
};

Result<void> Copy::make_directory(const std::string& path, std::uint32_t mode) {
    json body = {{"path", path}, {"mode", octal(mode)}};
    if (!user_.empty()) body["user"] = user_;
    SBX_CHECK(api_.post(sandbox_path(remote_.sandbox, "files/mkdir"), body));
    return Result<void>{};
}

// The file routes make none; every template has ln.
Result<void> Copy::make_symlink(const std::string& path, const std::string& target) {
    json body = {{"argv", {"ln", "-sfn", "--", target, path}}};
    if (!user_.empty()) body["user"] = user_;
    SBX_TRY(const json answer, api_.post(sandbox_path(remote_.sandbox, "exec"), body));
    if (exit_code_of(answer) == 0) return Result<void>{};
    return Error{Errc::conflict, path, "the symlink can't be made: " + text_of(answer, "stderr")};
}

Result<void> Copy::put(int fd, std::optional<std::uint64_t> size, const std::string& path,
                       std::uint32_t mode) {
    progress_.begin(path, size.value_or(0));
    Request request;
    request.method = "PUT";
    request.path = files("", path, "&mode=" + octal(mode));
    request.upload = Upload{size, [&](std::span<std::byte> room) -> Result<std::size_t> {
                                SBX_TRY(const std::size_t got, sys::read_some(fd, room));
                                progress_.add(got);
                                return got;
                            }};
    SBX_CHECK(api_.call(request));
    return Result<void>{};
}

Result<void> Copy::get(const std::string& path, int fd, std::uint64_t size) {
    progress_.begin(path, size);
    Request request;
    request.path = files("", path);
    const auto write = [&](std::string_view bytes) -> Result<void> {
        progress_.add(bytes.size());
        return write_out(fd, bytes);
    };
    SBX_CHECK(api_.stream(request, write));
    return Result<void>{};
}

// Where a copy goes that may have been given a folder to go into.
Result<std::string> Copy::target_of(const std::string& local) {
    std::string name = base_name(local);
    std::error_code code;
    if (name == "." || name == "..")
        name = std::filesystem::canonical(local, code).filename().string();
    if (name.empty() || code)
        return Error{Errc::invalid_argument, local, "has no name to give it in the sandbox"};
    const std::string inside =
        (remote_.path.ends_with('/') ? remote_.path : remote_.path + '/') + name;
    if (remote_.path.ends_with('/')) return inside;
    auto there = stat(remote_.path);
    if (!there && there.error().is(Errc::not_found)) return remote_.path;
    if (!there) return std::move(there).error();
    return text_of(*there, "type") == "directory" ? inside : remote_.path;
}

Result<void> Copy::upload(const std::string& from) {
    if (from == "-") return put(STDIN_FILENO, std::nullopt, remote_.path, 0644);
    SBX_TRY(const std::vector<LocalEntry> entries, walk(from));
    SBX_TRY(const std::string to, target_of(from));
    for (const LocalEntry& entry : entries) {
        const std::string path = entry.path.empty() ? to : to + '/' + entry.path;
        const std::string local = entry.path.empty() ? from : from + '/' + entry.path;
        switch (entry.kind) {
            case LocalKind::directory:
                SBX_CHECK(make_directory(path, entry.mode));
                break;
            case LocalKind::symlink:
                SBX_CHECK(make_symlink(path, entry.target));
                break;
            case LocalKind::other:
                note(local + " is no file, folder or symlink: left out");
                break;
            case LocalKind::file: {
                SBX_TRY(const Fd file, sys::open(local, O_RDONLY));
                SBX_CHECK(put(file.get(), entry.size, path, entry.mode));
                break;
            }
        }
    }
    return Result<void>{};
}

// The file is replaced as a whole; a terminal, a pipe or a device is written to.
Result<void> Copy::download_file(const json& info, const std::string& to) {
    const auto size = number_of(info, "size");
    if (to == "-") return get(remote_.path, STDOUT_FILENO, size);
    std::string target = to;
    auto there = sys::statat(AT_FDCWD, to.c_str());
    if (there && S_ISDIR(there->st_mode)) {
        target += '/' + base_name(remote_.path);
    } else if (there && !S_ISREG(there->st_mode)) {
        SBX_TRY(const Fd device, sys::open(to, O_WRONLY));
        return get(remote_.path, device.get(), size);
    }
    const std::string part = target + ".part";
    SBX_TRY(const Fd file,
            sys::open(part, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, mode_of(info) & 0777U));
    auto copied = get(remote_.path, file.get(), size);
    if (copied) copied = sys::rename(part, target);
    if (!copied) (void)sys::unlinkat(AT_FDCWD, part.c_str());  // the first error is the one to tell
    return copied;
}

Result<void> Copy::download_folder(LocalFolder& folder, const std::string& inside,
                                   std::vector<std::pair<std::string, std::string>>& links) {
    const std::string remote = inside.empty() ? remote_.path : remote_.path + '/' + inside;
    SBX_TRY(const json listing,
            api_.get(files("/list", remote, "&limit=" + std::to_string(kEntries))));
    if (listing.value("truncated", false)) {
        return Error{
            Errc::payload_too_large, remote,
            "more than 10000 entries in one folder: sandboxctl exec ID -- tar c PATH | tar x"};
    }
    const json entries = listing.value("entries", json::array());
    for (const json& entry : entries) {
        const std::string path = (inside.empty() ? "" : inside + '/') + text_of(entry, "path");
        const std::string type = text_of(entry, "type");
        if (type == "directory") {
            SBX_CHECK(folder.make_directory(path, mode_of(entry)));
            SBX_CHECK(download_folder(folder, path, links));
        } else if (type == "file") {
            SBX_TRY(const Fd file, folder.create(path, mode_of(entry)));
            SBX_CHECK(get(remote_.path + '/' + path, file.get(), number_of(entry, "size")));
        } else if (type == "symlink") {
            links.emplace_back(path, text_of(entry, "target"));
        } else {
            note(path + " is no file, folder or symlink: left out");
        }
    }
    return Result<void>{};
}

Result<void> Copy::download_tree(const std::string& to) {
    const auto there = sys::statat(AT_FDCWD, to.c_str());
    const bool inside = there && S_ISDIR(there->st_mode);
    SBX_TRY(LocalFolder folder,
            LocalFolder::open(inside ? to + '/' + base_name(remote_.path) : to));
    std::vector<std::pair<std::string, std::string>> links;
    SBX_CHECK(download_folder(folder, "", links));
    // Last, so that no file is ever looked up through one.
    for (const auto& [path, target] : links) SBX_CHECK(folder.make_symlink(path, target));
    return Result<void>{};
}

Result<void> Copy::download(const std::string& to) {
    SBX_TRY(const json info, stat(remote_.path));
    if (text_of(info, "type") != "directory") return download_file(info, to);
    if (to == "-")
        return Error{Errc::invalid_argument, remote_.path,
                     "is a folder: sandboxctl exec ID -- tar c PATH"};
    return download_tree(to);
}

Result<int> copy(const Session& session, const CopyOptions& options) {
    auto from = parse_remote(options.from);
    auto to = parse_remote(options.to);
    if (from.has_value() == to.has_value()) {
        return Error{
            Errc::invalid_argument, "cp",
            "exactly one of the two is in a sandbox, as ID:PATH (a file here with a colon: ./a:b)"};
    }
    SBX_TRY(ApiClient api, session.api());
    Copy work{api, from ? *from : *to, options.user, session.json};
    SBX_CHECK(from ? work.download(options.to) : work.upload(options.from));
    if (session.json) print_json(work.summary());
    return 0;
}

}  // namespace

void add_copy(CLI::App& app, Session& session) {
    CLI::App& verb =
        *app.add_subcommand("cp", "Copy files and folders into a sandbox, or out of it");
    auto options = std::make_shared<CopyOptions>();
    verb.add_option("from", options->from, "PATH here, ID:PATH in a sandbox, - for standard input")
        ->type_name("FROM")
        ->required();
    verb.add_option("to", options->to, "PATH here, ID:PATH in a sandbox, - for standard output")
        ->type_name("TO")
        ->required();
    verb.add_option("-u,--user", options->user,
                    "with whose rights in the sandbox: user, root, UID (default: user)")
        ->type_name("USER");
    verb.footer(
        "Paths in a sandbox start at the home directory unless they are absolute. Folders are "
        "copied with all that is in them.\n\n"
        "Example: sandboxctl cp data.csv ID:data.csv\n"
        "         sandboxctl cp ID:/home/user/out ./out");
    verb.callback([options, &session] {
        session.action = [options, &session] { return copy(session, *options); };
    });
}

}  // namespace sandboxd::ctl
