#pragma once

#include <algorithm>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "sandboxd/core/async.hpp"
#include "sandboxd/engine/files.hpp"

namespace sandboxd::api::testing {

struct FakeFile {
    engine::FileInfo info;
    std::string content;
};

class FakeFiles final : public engine::Files {
public:
    explicit FakeFiles(asio::any_io_executor executor) : executor_{executor}, events_changed_{std::move(executor)} {}

    FakeFile& put(const std::string& path, std::string content) {
        FakeFile& file = files[path];
        file.info.path = path;
        file.info.kind = engine::FileKind::file;
        file.info.mode = 0644;
        file.info.uid = file.info.gid = 1000;
        file.info.size = content.size();
        file.info.modified = WallTime{} + std::chrono::seconds{784887151};  // Tue, 15 Nov 1994 08:12:31
        file.info.inode = ++inodes;
        file.content = std::move(content);
        return file;
    }
    void happen(engine::FileEventKind kind, std::string path) {
        events.push_back({kind, std::move(path)});
        events_changed_.notify();
    }

    struct Reader final : engine::FileReader {
        Reader(FakeFiles& owner, FakeFile opened) : all{owner}, file{std::move(opened)} {}
        const engine::FileInfo& info() const override { return file.info; }
        asio::awaitable<Result<std::size_t>> read(std::uint64_t offset, std::span<std::byte> buffer) override {
            const std::string& now = all.shrunk ? *all.shrunk : file.content;
            if (offset >= now.size()) co_return std::size_t{0};
            const std::size_t count = std::min({buffer.size(), all.piece, now.size() - static_cast<std::size_t>(offset)});
            std::memcpy(buffer.data(), now.data() + offset, count);
            co_return count;
        }
        FakeFiles& all;
        FakeFile file;
    };
    struct Writer final : engine::FileWriter {
        Writer(FakeFiles& owner, std::string target, std::uint32_t bits) : all{owner}, path{std::move(target)}, mode{bits} {
            ++all.writers;
        }
        ~Writer() override { --all.writers; }
        asio::awaitable<Result<void>> write(std::span<const std::byte> data) override {
            if (content.size() + data.size() > all.quota) co_return Error{Errc::disk_full, "write", path};
            content.append(reinterpret_cast<const char*>(data.data()), data.size());
            co_return Result<void>{};
        }
        asio::awaitable<Result<engine::FileInfo>> commit(Deadline) override {
            FakeFile& file = all.put(path, std::move(content));
            file.info.mode = mode;
            co_return file.info;
        }
        asio::awaitable<void> discard(Deadline) override {
            ++all.discarded;
            co_return;
        }
        FakeFiles& all;
        std::string path;
        std::uint32_t mode;
        std::string content;
    };
    struct Listing final : engine::FileListing {
        asio::awaitable<Result<std::optional<engine::FileInfo>>> next(Deadline) override {
            if (entries.empty()) co_return std::optional<engine::FileInfo>{};
            std::optional<engine::FileInfo> entry{std::move(entries.front())};
            entries.pop_front();
            co_return std::move(entry);
        }
        bool truncated() const override { return cut; }
        std::deque<engine::FileInfo> entries;
        bool cut = false;
    };
    struct Watch final : engine::FileWatch {
        explicit Watch(FakeFiles& owner) : all{owner} { ++all.watches; }
        ~Watch() override { --all.watches; }
        asio::awaitable<Result<engine::FileEvent>> next(Deadline deadline) override {
            while (all.events.empty()) {
                if (all.watch_broken) co_return Error{Errc::gone, "watch"};
                SBX_CO_CHECK(co_await all.events_changed_.wait(deadline));
            }
            engine::FileEvent event = std::move(all.events.front());
            all.events.pop_front();
            co_return event;
        }
        FakeFiles& all;
    };

    asio::awaitable<Result<std::unique_ptr<engine::FileReader>>> open(std::string path, engine::User user, Deadline) override {
        last_user = user;
        if (!files.contains(path)) co_return missing(path);
        std::unique_ptr<engine::FileReader> reader = std::make_unique<Reader>(*this, files[path]);
        co_return std::move(reader);
    }
    asio::awaitable<Result<std::unique_ptr<engine::FileWriter>>> replace(std::string path, std::uint32_t mode, engine::User user,
                                                                         Deadline) override {
        last_user = user;
        std::unique_ptr<engine::FileWriter> writer = std::make_unique<Writer>(*this, std::move(path), mode);
        co_return std::move(writer);
    }
    asio::awaitable<Result<engine::FileInfo>> stat(std::string path, engine::User user, Deadline) override {
        last_user = user;
        if (!files.contains(path)) co_return missing(path);
        co_return files[path].info;
    }
    asio::awaitable<Result<std::unique_ptr<engine::FileListing>>> list(std::string path, std::uint32_t depth, std::uint32_t limit,
                                                                       engine::User user, Deadline) override {
        last_user = user;
        last_depth = depth;
        auto listing = std::make_unique<Listing>();
        for (const auto& [name, file] : files) {
            if (name.starts_with(path + "/")) listing->entries.push_back(file.info);
        }
        listing->cut = listing->entries.size() > limit;
        if (listing->cut) listing->entries.resize(limit);
        std::unique_ptr<engine::FileListing> out = std::move(listing);
        co_return std::move(out);
    }
    asio::awaitable<Result<void>> remove(std::string path, engine::User, Deadline) override {
        if (files.erase(path) == 0) co_return missing(path);
        co_return Result<void>{};
    }
    asio::awaitable<Result<void>> make_directory(std::string path, std::uint32_t mode, engine::User user, Deadline) override {
        last_user = user;
        FakeFile& made = put(path, "");
        made.info.kind = engine::FileKind::directory;
        made.info.mode = mode;
        co_return Result<void>{};
    }
    asio::awaitable<Result<void>> rename(std::string from, std::string to, engine::User, Deadline) override {
        if (!files.contains(from)) co_return missing(from);
        FakeFile moved = std::move(files[from]);
        files.erase(from);
        moved.info.path = to;
        files[to] = std::move(moved);
        co_return Result<void>{};
    }
    asio::awaitable<Result<std::unique_ptr<engine::FileWatch>>> watch(std::string path, bool recursive, engine::User, Deadline) override {
        if (path == "/missing") co_return missing(path);
        last_recursive = recursive;
        std::unique_ptr<engine::FileWatch> made = std::make_unique<Watch>(*this);
        co_return std::move(made);
    }

    std::map<std::string, FakeFile> files;
    std::optional<std::string> shrunk;  // what readers find instead of the content
    std::size_t piece = SIZE_MAX;
    std::size_t quota = SIZE_MAX;
    std::uint64_t inodes = 0;
    int writers = 0;  // living ones
    int discarded = 0;
    int watches = 0;
    bool watch_broken = false;
    bool last_recursive = false;
    std::uint32_t last_depth = 0;
    engine::User last_user;
    std::deque<engine::FileEvent> events;

private:
    static Error missing(const std::string& path) { return Error{Errc::not_found, "open", path}; }
    asio::any_io_executor executor_;
    Event events_changed_;
};

}  // namespace sandboxd::api::testing
