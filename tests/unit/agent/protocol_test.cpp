// The codec that the API trusts with bytes from a jail, and the init with bytes from the API.
#include "sandboxd/agent/protocol.hpp"

#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <vector>

#include "isolation/launch_plan.hpp"

namespace sandboxd::agent {
namespace {

using std::string_view_literals::operator""sv;

Failure failure() { return {.error = 13, .step = Step::cwd}; }

Exec exec() {
    Exec out;
    out.exec = 0x0102030405060708;
    out.flags = kPty | kWithFiles;
    out.uid = 1000;
    out.gid = 1001;
    out.timeout_ms = 60'000;
    out.kill_grace_ms = 5'000;
    out.rows = 24;
    out.cols = 80;
    out.cwd = "/home/user";
    out.argv = "sh\0-c\0exit 1\0"sv;
    out.env = "PATH=/bin\0"sv;
    return out;
}

ExecState state() {
    ExecState out;
    out.exec = 7;
    out.pid = 42;
    out.flags = kStdin;
    out.kind = ExitKind::signaled;
    out.status = 9;
    out.timed_out = true;
    out.started_ns = 1'000'000'001;
    out.ended_ns = 2'000'000'002;
    return out;
}

FileInfo info() {
    FileInfo out;
    out.kind = FileKind::symlink;
    out.mode = 0777;
    out.uid = 1;
    out.gid = 2;
    out.size = 3;
    out.modified_ns = -4;
    out.inode = 5;
    out.path = "a/b";
    out.target = "c";
    return out;
}

// Exactly sized, so that a sanitizer sees a read past the end.
std::unique_ptr<std::byte[]> exact(const std::vector<std::byte>& bytes, std::size_t size) {
    auto copy = std::make_unique<std::byte[]>(size);
    std::copy_n(bytes.begin(), size, copy.get());
    return copy;
}

template <class Body>
std::vector<std::byte> encoded(Type type, const Body& body) {
    std::vector<std::byte> buffer(4096);
    const std::size_t size = encode(buffer.data(), buffer.size(), type, 77, body);
    REQUIRE(size > 0);
    buffer.resize(size);
    return buffer;
}

template <class Body>
bool decodes(const std::byte* data, std::size_t size, Header& header, Body& body) {
    wire::Reader reader{data, size};
    return decode_header(reader, header) && decode_body(reader, body);
}

// What every message must hold to: it comes back byte for byte; any part of it, and anything longer, is refused; and a
// buffer that is too small is never written to in part and called a success.
template <class Body>
void check_message(Type type, const Body& sent) {
    INFO("type " << static_cast<int>(type));
    const std::vector<std::byte> bytes = encoded(type, sent);
    Header header;
    Body got;
    const auto whole = exact(bytes, bytes.size());
    REQUIRE(decodes(whole.get(), bytes.size(), header, got));
    CHECK(header.type == type);
    CHECK(header.request == 77);
    CHECK(encoded(type, got) == bytes);

    for (std::size_t size = 0; size < bytes.size(); ++size) {
        const auto part = exact(bytes, size);
        Header h;
        Body b;
        INFO("cut to " << size << " of " << bytes.size());
        CHECK_FALSE(decodes(part.get(), size, h, b));
        std::vector<std::byte> small(size);
        CHECK(encode(small.data(), size, type, 77, sent) == 0);
    }
    std::vector<std::byte> longer = bytes;
    longer.push_back(std::byte{0});
    Header h;
    Body b;
    CHECK_FALSE(decodes(longer.data(), longer.size(), h, b));
}

}  // namespace

TEST_CASE("every message comes back as it was sent, and no part of one is taken for it") {
    check_message(Type::hello, Empty{});
    check_message(Type::hello_ok, HelloOk{.execs = 256});
    check_message(Type::error, failure());
    check_message(Type::exec, exec());
    check_message(Type::exec_started, ExecStarted{.exec = 5, .pid = 6});
    check_message(Type::exec_state, state());
    check_message(Type::signal, Signal{.exec = 1, .signal = 15, .scope = SignalScope::tree});
    check_message(Type::resize, Resize{.exec = 1, .rows = 50, .cols = 132});
    check_message(Type::forget, ExecRef{.exec = ~0ULL});
    check_message(Type::file_open, FileOpen{.mode = OpenMode::replace, .uid = 1, .gid = 2, .permissions = 0600, .make_parents = true, .path = "/x"});
    check_message(Type::file_info, info());
    check_message(Type::file_stat, FileRef{.uid = 1, .gid = 2, .permissions = 0700, .recursive = true, .path = "/x"});
    check_message(Type::file_rename, FileRename{.uid = 1, .gid = 2, .from = "/x", .to = "/y"});
    check_message(Type::file_list, FileList{.uid = 1, .gid = 2, .depth = 3, .limit = 4, .path = "/x"});
    check_message(Type::file_watch, FileWatch{.uid = 1, .gid = 2, .recursive = true, .path = "/x"});
    check_message(Type::connect_port, ConnectPort{.port = 65535});
}

TEST_CASE("fields keep their values and their places") {
    const std::vector<std::byte> bytes = encoded(Type::exec, exec());
    Header header;
    Exec got;
    REQUIRE(decodes(bytes.data(), bytes.size(), header, got));
    CHECK(got.exec == 0x0102030405060708);
    CHECK(got.flags == (kPty | kWithFiles));
    CHECK(got.uid == 1000);
    CHECK(got.gid == 1001);
    CHECK(got.timeout_ms == 60'000);
    CHECK(got.kill_grace_ms == 5'000);
    CHECK(got.rows == 24);
    CHECK(got.cols == 80);
    CHECK(got.cwd == "/home/user");
    CHECK(got.argv == "sh\0-c\0exit 1\0"sv);
    CHECK(got.env == "PATH=/bin\0"sv);
    // The wire is little-endian and without padding: the magic, version, type and request come first.
    const std::string start{reinterpret_cast<const char*>(bytes.data()), 20};
    CHECK(start == std::string("SXA1\x01\x00\x02\x00\x4d\x00\x00\x00\x08\x07\x06\x05\x04\x03\x02\x01", 20));
}

TEST_CASE("another protocol, another version and false lengths are refused") {
    const std::vector<std::byte> good = encoded(Type::file_stat, FileRef{.path = "/home"});
    Header header;
    FileRef body;
    REQUIRE(decodes(good.data(), good.size(), header, body));

    const auto refused = [&](std::size_t at, int value) {
        std::vector<std::byte> bad = good;
        bad.at(at) = static_cast<std::byte>(value);
        return !decodes(bad.data(), bad.size(), header, body);
    };
    CHECK(refused(0, 'X'));    // magic
    CHECK(refused(4, 2));      // version
    const std::size_t recursive = 12 + 4 + 4 + 4;
    CHECK(refused(recursive, 2));  // neither true nor false
    const std::size_t length = recursive + 1;
    CHECK(refused(length, 6));     // one more than there is
    CHECK(refused(length, 4));     // one less: a byte is left over
    CHECK(refused(length + 3, 0xff));
}

TEST_CASE("files to write before an exec follow each other without gaps") {
    std::vector<std::byte> bytes(256);
    wire::Writer writer{bytes.data(), bytes.size()};
    REQUIRE(writer(FileRecord{.mode = 0600, .path = "a", .content = "one"}));
    REQUIRE(writer(FileRecord{.mode = 0755, .path = "b/c", .content = ""}));
    wire::Reader reader{bytes.data(), writer.size()};
    FileRecord first;
    FileRecord second;
    REQUIRE(reader(first));
    REQUIRE(reader(second));
    CHECK(reader.done());
    CHECK(first.content == "one");
    CHECK(second.path == "b/c");
    CHECK(second.content.empty());
}

TEST_CASE("a launch plan comes back whole, and no part of one is a plan") {
    isolation::LaunchPlan plan;
    plan.hostname = "sandbox";
    plan.fd_roles = "\x01\x02\x04\x05";
    plan.binds[0] = "/data";
    plan.shm_bytes = 64 << 20;
    plan.allow_root = true;
    plan.oom_score_adj = 500;
    plan.rlimit_count = 1;
    plan.rlimits[0] = {7, 1024, 65536};
    plan.seccomp_arguments = std::string_view{"12345678"};
    plan.seccomp_names = std::string_view{"abcdefgh12345678"};
    plan.seccomp_refusals = std::string_view{"0123456789abcdef0123456789abcdef"};
    std::vector<std::byte> bytes(isolation::kMaxPlanBytes);
    wire::Writer writer{bytes.data(), bytes.size()};
    REQUIRE(writer(plan));
    bytes.resize(writer.size());

    isolation::LaunchPlan got;
    wire::Reader reader{bytes.data(), bytes.size()};
    REQUIRE((reader(got) && reader.done()));
    CHECK(got.hostname == "sandbox");
    CHECK(got.binds[0] == "/data");
    CHECK(got.binds[1].empty());
    CHECK(got.rlimits[0].hard == 65536);
    CHECK(got.seccomp_names == plan.seccomp_names);
    CHECK(got.seccomp_refusals == plan.seccomp_refusals);
    for (std::size_t size = 0; size < bytes.size(); ++size) {
        const auto part = exact(bytes, size);
        wire::Reader short_reader{part.get(), size};
        isolation::LaunchPlan ignored;
        CHECK_FALSE((short_reader(ignored) && short_reader.done()));
    }
}

}  // namespace sandboxd::agent
