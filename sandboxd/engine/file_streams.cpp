#include "sandboxd/engine/file_streams.hpp"

#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <utility>

#include "sandboxd/core/async.hpp"
#include "sandboxd/core/sys_io.hpp"
#include "sandboxd/engine/agent_reply.hpp"

namespace sandboxd::engine {

namespace {

constexpr std::size_t kPacket = 16 * 1024;  // of a listing or a watch
constexpr std::size_t kUnit = 1 << 20;      // of a write, which is copied for the pool's thread

class Reader final : public FileReader {
public:
    Reader(IoPools& pools, Fd file, FileInfo info) : pools_{pools}, file_{std::make_shared<const Fd>(std::move(file))}, info_{std::move(info)} {}
    const FileInfo& info() const override { return info_; }
    asio::awaitable<Result<std::size_t>> read(std::uint64_t offset, std::span<std::byte> buffer) override {
        const auto got = std::make_shared<Result<std::size_t>>(std::size_t{0});
        std::function<void()> work = [file = file_, got, buffer, offset] { *got = sys::read_at(file->get(), buffer, offset); };
        co_await pools_.files.run(std::move(work));
        co_return *got;
    }

private:
    IoPools& pools_;
    std::shared_ptr<const Fd> file_;
    FileInfo info_;
};

class Writer final : public FileWriter {
public:
    Writer(IoPools& pools, Fd file, Fd session, FileInfo info)
        : pools_{pools}, file_{std::make_shared<const Fd>(std::move(file))}, session_{std::move(session)}, info_{std::move(info)} {}

    asio::awaitable<Result<void>> write(std::span<const std::byte> data) override {
        while (!data.empty()) {
            const auto piece = std::make_shared<std::vector<std::byte>>(data.begin(), data.begin() + static_cast<std::ptrdiff_t>(std::min(data.size(), kUnit)));
            const auto written = std::make_shared<Result<void>>();
            std::function<void()> work = [file = file_, piece, written, offset = size_] { *written = sys::write_all_at(file->get(), *piece, offset); };
            co_await pools_.files.run(std::move(work));
            if (!*written) co_return std::move(written->error()).with("writing " + info_.path);
            size_ += piece->size();
            data = data.subspan(piece->size());
        }
        co_return Result<void>{};
    }

    asio::awaitable<Result<FileInfo>> commit(Deadline deadline) override {
        static constexpr std::array kCommit{std::byte{'c'}};
        SBX_CO_CHECK(sys::send_packet(session_.get(), kCommit));
        std::array<std::byte, 64> answer{};
        std::size_t size = 0;
        for (;;) {
            auto got = sys::receive_packet(session_.get(), answer);
            if (got) {
                size = *got;
                break;
            }
            if (!got.error().is_errno(EAGAIN)) co_return std::move(got).error();
            SBX_CO_CHECK(co_await wait_fd(session_.get(), Ready::read, deadline));
        }
        wire::Reader reader{answer.data(), size};
        agent::Failure result;
        if (!agent::decode_body(reader, result)) co_return AgentReply::malformed("upload");
        if (result.error != 0) co_return failure_error(result, "replacing " + info_.path);
        SBX_CO_TRY(const struct stat st, sys::fstat(file_->get()));
        info_.size = static_cast<std::uint64_t>(st.st_size);
        info_.modified = WallTime{std::chrono::seconds{st.st_mtim.tv_sec} + std::chrono::nanoseconds{st.st_mtim.tv_nsec}};
        co_return info_;
    }

    asio::awaitable<void> discard(Deadline deadline) override {
        static constexpr std::array kGiveUp{std::byte{'x'}};
        file_ = nullptr;  // an open file keeps its space
        if (!sys::send_packet(session_.get(), kGiveUp)) co_return;
        std::array<std::byte, 64> answer{};
        for (;;) {
            // The init's task ends, and with it hangs up, when it has removed the file.
            const auto got = sys::receive_packet(session_.get(), answer);
            if (got || !got.error().is_errno(EAGAIN)) co_return;
            auto ready = co_await wait_fd(session_.get(), Ready::read, deadline);
            if (!ready) co_return;
        }
    }

private:
    IoPools& pools_;
    std::shared_ptr<const Fd> file_;
    Fd session_;
    FileInfo info_;
    std::uint64_t size_ = 0;
};

// Packets of a listing or a watch, at the reader's pace.
class Packets {
public:
    explicit Packets(Fd stream) : stream_{std::move(stream)}, buffer_{std::make_unique<std::array<std::byte, kPacket>>()} {}

    // A reader that stands behind the packet's kind; valid until the next call. Nothing: the other end has hung up.
    struct Packet {
        agent::ListPacket kind{};
        wire::Reader body{nullptr, 0};
    };
    asio::awaitable<Result<std::optional<Packet>>> next(Deadline deadline) {
        for (;;) {
            auto got = sys::receive_packet(stream_.get(), *buffer_);
            if (!got && got.error().is_errno(EAGAIN)) {
                SBX_CO_CHECK(co_await wait_fd(stream_.get(), Ready::read, deadline));
                continue;
            }
            if (!got) co_return std::move(got).error();
            if (*got == 0) co_return std::optional<Packet>{};
            Packet packet;
            packet.body = wire::Reader{buffer_->data(), *got};
            if (!packet.body(packet.kind)) co_return AgentReply::malformed("files");
            co_return std::optional<Packet>{packet};
        }
    }

private:
    Fd stream_;
    std::unique_ptr<std::array<std::byte, kPacket>> buffer_;
};

class Listing final : public FileListing {
public:
    explicit Listing(Fd stream) : packets_{std::move(stream)} {}
    bool truncated() const override { return truncated_; }
    asio::awaitable<Result<std::optional<FileInfo>>> next(Deadline deadline) override {
        if (ended_) co_return std::optional<FileInfo>{};
        SBX_CO_TRY(auto packet, co_await packets_.next(deadline));
        if (!packet) co_return Error{Errc::unavailable, "list", "the listing broke off"};
        if (packet->kind == agent::ListPacket::end) {
            agent::Failure end;
            if (!agent::decode_body(packet->body, end)) co_return AgentReply::malformed("list");
            ended_ = true;
            truncated_ = end.error == E2BIG;
            if (end.error != 0 && !truncated_) co_return failure_error(end, "list");
            co_return std::optional<FileInfo>{};
        }
        agent::FileInfo entry;
        if (packet->kind != agent::ListPacket::entry || !agent::decode_body(packet->body, entry)) co_return AgentReply::malformed("list");
        co_return std::optional<FileInfo>{file_info(entry)};
    }

private:
    Packets packets_;
    bool ended_ = false;
    bool truncated_ = false;
};

class Watch final : public FileWatch {
public:
    explicit Watch(Fd stream) : packets_{std::move(stream)} {}
    asio::awaitable<Result<FileEvent>> next(Deadline deadline) override {
        SBX_CO_TRY(auto packet, co_await packets_.next(deadline));
        if (!packet) co_return Error{Errc::gone, "watch", "the watched folder or its sandbox is gone"};
        agent::FileEvent event;
        if (packet->kind != agent::ListPacket::event || !agent::decode_body(packet->body, event)) co_return AgentReply::malformed("watch");
        FileEvent out;
        switch (event.kind) {
            case agent::FileEventKind::create: out.kind = FileEventKind::create; break;
            case agent::FileEventKind::write: out.kind = FileEventKind::write; break;
            case agent::FileEventKind::remove: out.kind = FileEventKind::remove; break;
            case agent::FileEventKind::rename: out.kind = FileEventKind::rename; break;
            case agent::FileEventKind::chmod: out.kind = FileEventKind::chmod; break;
            case agent::FileEventKind::overflow: out.kind = FileEventKind::overflow; break;
            default: co_return AgentReply::malformed("watch");
        }
        out.path = std::string{event.path};
        co_return out;
    }

private:
    Packets packets_;
};

FileKind kind_from(agent::FileKind kind) {
    switch (kind) {
        case agent::FileKind::file: return FileKind::file;
        case agent::FileKind::directory: return FileKind::directory;
        case agent::FileKind::symlink: return FileKind::symlink;
        case agent::FileKind::fifo: return FileKind::fifo;
        case agent::FileKind::socket: return FileKind::socket;
        case agent::FileKind::character: return FileKind::character;
        case agent::FileKind::block: return FileKind::block;
        case agent::FileKind::other: break;
    }
    return FileKind::other;
}

}  // namespace

FileInfo file_info(const agent::FileInfo& info) {
    FileInfo out;
    out.path = std::string{info.path};
    out.kind = kind_from(info.kind);
    out.mode = info.mode & 07777;
    out.uid = info.uid;
    out.gid = info.gid;
    out.size = info.size;
    out.modified = WallTime{std::chrono::nanoseconds{info.modified_ns}};
    out.target = std::string{info.target};
    out.inode = info.inode;
    return out;
}

Result<FileInfo> file_info(const agent::FileInfo& info, const Fd& fd) {
    SBX_TRY(const struct stat st, sys::fstat(fd.get()));
    FileInfo out = file_info(info);
    out.kind = FileKind::file;
    out.mode = st.st_mode & 07777;
    out.size = static_cast<std::uint64_t>(st.st_size);
    out.modified = WallTime{std::chrono::seconds{st.st_mtim.tv_sec} + std::chrono::nanoseconds{st.st_mtim.tv_nsec}};
    out.inode = st.st_ino;
    return out;
}

std::unique_ptr<FileReader> make_file_reader(IoPools& pools, Fd file, FileInfo info) {
    return std::make_unique<Reader>(pools, std::move(file), std::move(info));
}

std::unique_ptr<FileWriter> make_file_writer(IoPools& pools, Fd file, Fd session, FileInfo info) {
    return std::make_unique<Writer>(pools, std::move(file), std::move(session), std::move(info));
}

std::unique_ptr<FileListing> make_file_listing(Fd stream) { return std::make_unique<Listing>(std::move(stream)); }

std::unique_ptr<FileWatch> make_file_watch(Fd stream) { return std::make_unique<Watch>(std::move(stream)); }

std::string_view to_string(FileKind kind) noexcept {
    switch (kind) {
        case FileKind::other: return "other";
        case FileKind::file: return "file";
        case FileKind::directory: return "directory";
        case FileKind::symlink: return "symlink";
        case FileKind::fifo: return "fifo";
        case FileKind::socket: return "socket";
        case FileKind::character: return "character";
        case FileKind::block: return "block";
    }
    return "other";
}

std::string_view to_string(FileEventKind kind) noexcept {
    switch (kind) {
        case FileEventKind::create: return "create";
        case FileEventKind::write: return "write";
        case FileEventKind::remove: return "remove";
        case FileEventKind::rename: return "rename";
        case FileEventKind::chmod: return "chmod";
        case FileEventKind::overflow: return "overflow";
    }
    return "overflow";
}

}  // namespace sandboxd::engine
