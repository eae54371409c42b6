#include "sandboxd/engine/spill.hpp"

#include <fcntl.h>
#include <pty.h>
#include <unistd.h>

#include <array>
#include <string>
#include <thread>
#include <vector>

#include "sandboxd/core/sys_io.hpp"
#include "tests/unit/engine/run_loop.hpp"

using namespace sandboxd;
using namespace sandboxd::engine;
using sandboxd::testing::run;
using sandboxd::testing::soon;
using sandboxd::testing::TempDir;

namespace {

// Bytes that can't be right by accident: a generator's, hashed as they pass.
class Bytes {
public:
    std::byte next() {
        state_ = state_ * 6364136223846793005ULL + 1442695040888963407ULL;
        return static_cast<std::byte>(state_ >> 56);
    }
    void fill(std::span<std::byte> out) {
        for (std::byte& b : out) b = next();
    }

private:
    std::uint64_t state_ = 42;
};

std::uint64_t mix(std::uint64_t hash, std::span<const std::byte> data) {
    for (const std::byte b : data) hash = (hash ^ static_cast<std::uint64_t>(b)) * 1099511628211ULL;
    return hash;
}

// Writes from a thread, as a program would, blocking when the pipe is full.
class Writer {
public:
    Writer(Fd pipe, std::uint64_t bytes)
        : thread_{[this, fd = std::move(pipe), bytes]() mutable {
              Bytes source;
              std::vector<std::byte> piece(64 * 1024);
              for (std::uint64_t left = bytes; left > 0;) {
                  const std::span<std::byte> now{piece.data(), static_cast<std::size_t>(std::min<std::uint64_t>(left, piece.size()))};
                  source.fill(now);
                  if (!sys::write_all(fd.get(), now)) return;
                  left -= now.size();
                  hash_ = mix(hash_, now);
              }
              fd.reset();
          }} {}
    ~Writer() {
        if (thread_.joinable()) thread_.join();
    }
    std::uint64_t hash() {
        thread_.join();
        return hash_;
    }

private:
    std::uint64_t hash_ = 7;
    std::thread thread_;
};

struct Pipe {
    Fd read;
    Fd write;  // blocking, as a program's is
};
Pipe make_pipe() {
    auto pipe = sys::pipe();
    REQUIRE(pipe);
    REQUIRE(::fcntl(pipe->write.get(), F_SETFL, 0) == 0);
    return {std::move(pipe->read), std::move(pipe->write)};
}

void put(const Fd& fd, std::string_view text) { REQUIRE(sys::write_all(fd.get(), std::as_bytes(std::span{text}))); }

struct Bench {
    asio::io_context context;
    TempDir dir;
    Fd folder = *sys::open(dir.path, O_RDONLY | O_DIRECTORY);
    IoPools pools;
    std::shared_ptr<SpoolBudget> budget = std::make_shared<SpoolBudget>(1ULL << 30);
    TaskGroup tasks{context.get_executor()};

    std::shared_ptr<Spill> open(SpillSettings settings = {}, const char* name = "1.out") {
        auto spill = Spill::open(context.get_executor(), pools, budget, folder.get(), name, settings);
        REQUIRE(spill);
        return *spill;
    }
    void start(const std::shared_ptr<Spill>& spill, Fd pipe) {
        spill->attach(SpillSource::pipe(std::move(pipe)));
        tasks.spawn("pump", spill->pump());
    }
    ~Bench() {
        tasks.cancel();
        run(context, join());
    }
    asio::awaitable<void> join() { (void)co_await tasks.join(soon()); }
};

struct Read {
    std::uint64_t bytes = 0;
    std::uint64_t hash = 7;
    std::optional<Error> error;
};
asio::awaitable<Read> read_all(std::shared_ptr<Spill> spill, std::uint64_t offset, std::size_t piece) {
    Read out;
    std::vector<std::byte> buffer(piece);
    for (;;) {
        auto got = co_await spill->read(offset, buffer, soon());
        if (!got) {
            out.error = got.error();
            co_return out;
        }
        if (*got == 0) co_return out;
        out.hash = mix(out.hash, std::span{buffer}.first(*got));
        out.bytes += *got;
        offset += *got;
    }
}

asio::awaitable<std::string> read_text(std::shared_ptr<Spill> spill, std::uint64_t offset) {
    std::string out(4096, '\0');
    const std::span<std::byte> room = std::as_writable_bytes(std::span{out});
    auto got = co_await spill->read(offset, room, soon());
    out.resize(got ? *got : 0);
    co_return out;
}

asio::awaitable<void> until_size(std::shared_ptr<Spill> spill, std::uint64_t size) {
    std::byte byte{};
    const std::span<std::byte> room{&byte, 1};
    while (spill->size() < size) {
        auto got = co_await spill->read(spill->size(), room, soon());
        REQUIRE(got);
    }
}

}  // namespace

TEST_CASE("100 MiB go through a spill file unchanged, to two readers with different steps") {
    Bench bench;
    constexpr std::uint64_t kBytes = 100ULL << 20;
    auto spill = bench.open({.limit = 200ULL << 20});
    Pipe pipe = make_pipe();
    bench.start(spill, std::move(pipe.read));
    Writer writer{std::move(pipe.write), kBytes};
    std::optional<Read> second;
    asio::co_spawn(bench.context, read_all(spill, 0, 200'000), [&](std::exception_ptr, Read r) { second = r; });
    const Read first = run(bench.context, read_all(spill, 0, 30'000));
    if (!second) second = run(bench.context, read_all(spill, 0, 200'000));
    const std::uint64_t expected = writer.hash();
    REQUIRE(first.bytes == kBytes);
    REQUIRE(first.hash == expected);
    REQUIRE(second->bytes == kBytes);
    REQUIRE(second->hash == expected);
    REQUIRE(spill->ended());
    REQUIRE(spill->dropped() == 0);
}

TEST_CASE("a reader that comes back at an offset gets the rest, and an offset that is not there is refused") {
    Bench bench;
    auto spill = bench.open();
    Pipe pipe = make_pipe();
    bench.start(spill, std::move(pipe.read));
    put(pipe.write, "hello world");
    REQUIRE(run(bench.context, read_text(spill, 0)) == "hello world");
    REQUIRE(run(bench.context, read_text(spill, 6)) == "world");
    const Read beyond = run(bench.context, read_all(spill, 12, 10));
    REQUIRE(beyond.error);
    REQUIRE(beyond.error->is(Errc::range_not_satisfiable));
    REQUIRE_FALSE(spill->ended());
    pipe.write.reset();
    const Read rest = run(bench.context, read_all(spill, 11, 10));
    REQUIRE_FALSE(rest.error);
    REQUIRE(rest.bytes == 0);
    REQUIRE(spill->hung_up());
}

TEST_CASE("a waiting reader times out when nothing comes") {
    Bench bench;
    auto spill = bench.open();
    Pipe pipe = make_pipe();
    bench.start(spill, std::move(pipe.read));
    std::array<std::byte, 4> buffer{};
    auto got = run(bench.context, spill->read(0, buffer, Deadline::after(std::chrono::milliseconds{20})));
    REQUIRE_FALSE(got);
    REQUIRE(got.error().is(Errc::timeout));
}

TEST_CASE("above the cap bytes are dropped and counted, and the program never waits") {
    Bench bench;
    auto spill = bench.open({.limit = 100'000});
    Pipe pipe = make_pipe();
    bench.start(spill, std::move(pipe.read));
    Writer writer{std::move(pipe.write), 5'000'000};
    run(bench.context, [](std::shared_ptr<Spill> s) -> asio::awaitable<void> { (void)co_await s->until_hung_up(); }(spill));
    (void)writer.hash();
    REQUIRE(spill->size() == 100'000);
    REQUIRE(spill->dropped() == 4'900'000);
    REQUIRE(spill->truncated());
}

TEST_CASE("with block the program waits for the reader, old bytes leave the file, and nothing is lost") {
    Bench bench;
    constexpr std::uint64_t kBytes = 8ULL << 20;
    auto spill = bench.open({.limit = 256 * 1024, .mode = OverLimit::block});
    Pipe pipe = make_pipe();
    bench.start(spill, std::move(pipe.read));
    Writer writer{std::move(pipe.write), kBytes};
    run(bench.context, until_size(spill, 256 * 1024));
    REQUIRE(spill->size() == 256 * 1024);
    Read total;
    std::uint64_t most_kept = 0;
    auto consume = [&](std::shared_ptr<Spill> s) -> asio::awaitable<void> {
        std::vector<std::byte> buffer(50'000);
        for (;;) {
            auto got = co_await s->read(total.bytes, buffer, soon());
            REQUIRE(got);
            if (*got == 0) co_return;
            total.hash = mix(total.hash, std::span{buffer}.first(*got));
            total.bytes += *got;
            most_kept = std::max(most_kept, s->size() - s->first_offset());
            s->consumed(total.bytes);
        }
    };
    run(bench.context, consume(spill));
    REQUIRE(total.bytes == kBytes);
    REQUIRE(total.hash == writer.hash());
    REQUIRE(most_kept <= 256 * 1024 + 4096);
    REQUIRE(spill->first_offset() > 0);
    const auto st = sys::statat(bench.folder.get(), "1.out");
    REQUIRE(st);
    REQUIRE(static_cast<std::uint64_t>(st->st_size) == kBytes);
    REQUIRE(st->st_blocks * 512 <= 512 * 1024);
    auto gone = run(bench.context, read_all(spill, 0, 10));
    REQUIRE(gone.error);
    REQUIRE(gone.error->is(Errc::range_not_satisfiable));
}

TEST_CASE("a spill that is opened again goes on exactly where the last one stopped") {
    Bench bench;
    constexpr std::uint64_t kBytes = 4ULL << 20;
    Pipe pipe = make_pipe();
    Fd kept = *sys::dup(pipe.read.get());  // as the jail's init keeps one
    Writer writer{std::move(pipe.write), kBytes};
    {
        TaskGroup first_life{bench.context.get_executor()};
        auto spill = bench.open();
        spill->attach(SpillSource::pipe(std::move(pipe.read)));
        first_life.spawn("pump", spill->pump());
        run(bench.context, until_size(spill, 1 << 20));
        first_life.cancel();
        run(bench.context, [](TaskGroup& t) -> asio::awaitable<void> { (void)co_await t.join(soon()); }(first_life));
    }
    auto spill = bench.open();
    REQUIRE(spill->size() >= 1 << 20);
    REQUIRE(spill->ended());  // nobody is attached
    bench.start(spill, std::move(kept));
    const Read all = run(bench.context, read_all(spill, 0, 64 * 1024));
    REQUIRE(all.bytes == kBytes);
    REQUIRE(all.hash == writer.hash());
}

TEST_CASE("a blocking stream that is opened again remembers what was consumed") {
    Bench bench;
    Pipe pipe = make_pipe();
    Fd kept = *sys::dup(pipe.read.get());
    const SpillSettings settings{.limit = 64 * 1024, .mode = OverLimit::block};
    Writer writer{std::move(pipe.write), 100'000};
    {
        TaskGroup first_life{bench.context.get_executor()};
        auto spill = bench.open(settings);
        spill->attach(SpillSource::pipe(std::move(pipe.read)));
        first_life.spawn("pump", spill->pump());
        run(bench.context, until_size(spill, 64 * 1024));
        spill->consumed(20'000);
        REQUIRE(spill->first_offset() == 16'384);
        first_life.cancel();
        run(bench.context, [](TaskGroup& t) -> asio::awaitable<void> { (void)co_await t.join(soon()); }(first_life));
    }
    auto spill = bench.open(settings);
    REQUIRE(spill->first_offset() == 16'384);
    bench.start(spill, std::move(kept));
    spill->consumed(64 * 1024);
    const Read rest = run(bench.context, read_all(spill, 64 * 1024, 4096));
    REQUIRE(rest.bytes == 100'000 - 64 * 1024);
}

TEST_CASE("settle ends the stream at the main program's end although a background child keeps the pipe") {
    Bench bench;
    auto spill = bench.open();
    Pipe pipe = make_pipe();
    bench.start(spill, std::move(pipe.read));
    put(pipe.write, "last words");
    run(bench.context, spill->settle());
    REQUIRE(spill->size() == 10);
    REQUIRE(spill->ended());
    REQUIRE_FALSE(spill->hung_up());
    const Read all = run(bench.context, read_all(spill, 0, 100));
    REQUIRE(all.bytes == 10);
    put(pipe.write, ", and more");
    pipe.write.reset();
    run(bench.context, [](std::shared_ptr<Spill> s) -> asio::awaitable<void> { (void)co_await s->until_hung_up(); }(spill));
    REQUIRE(run(bench.context, read_text(spill, 10)) == ", and more");
}

TEST_CASE("settle is not held back by a flood from the background, nor by a full blocking stream without a reader") {
    Bench bench;
    SECTION("flood") {
        auto spill = bench.open({.limit = 50'000});
        Pipe pipe = make_pipe();
        bench.start(spill, std::move(pipe.read));
        Writer writer{std::move(pipe.write), 64ULL << 20};
        run(bench.context, until_size(spill, 50'000));
        run(bench.context, spill->settle());
        REQUIRE(spill->ended());
        REQUIRE_FALSE(spill->hung_up());
        run(bench.context, [](std::shared_ptr<Spill> s) -> asio::awaitable<void> { (void)co_await s->until_hung_up(); }(spill));
    }
    SECTION("full") {
        auto spill = bench.open({.limit = 4096, .mode = OverLimit::block});
        Pipe pipe = make_pipe();
        bench.start(spill, std::move(pipe.read));
        const std::string text(20'000, 'x');
        put(pipe.write, text);
        run(bench.context, until_size(spill, 4096));
        run(bench.context, spill->settle());
        REQUIRE(spill->size() == 20'000);
    }
}

TEST_CASE("a terminal's output goes through the relay; its hang-up is the end") {
    Bench bench;
    int master = -1;
    int slave = -1;
    REQUIRE(::openpty(&master, &slave, nullptr, nullptr, nullptr) == 0);
    Fd terminal{master};
    Fd program{slave};
    auto relay = sys::pipe();
    REQUIRE(relay);
    put(relay->write, "left in the relay by a crash;");
    auto spill = bench.open();
    Fd master_copy = *sys::dup(terminal.get());
    spill->attach(SpillSource::terminal(std::move(terminal), std::move(relay->read), std::move(relay->write)));
    bench.tasks.spawn("pump", spill->pump());
    put(program, "one\n");
    run(bench.context, until_size(spill, 29 + 5));
    REQUIRE(run(bench.context, read_text(spill, 0)) == "left in the relay by a crash;one\r\n");
    put(program, "two\n");
    run(bench.context, spill->settle());
    REQUIRE(run(bench.context, read_text(spill, 34)) == "two\r\n");
    REQUIRE_FALSE(spill->hung_up());
    program.reset();
    run(bench.context, [](std::shared_ptr<Spill> s) -> asio::awaitable<void> { (void)co_await s->until_hung_up(); }(spill));
    REQUIRE(spill->size() == 39);
}

TEST_CASE("when the sandbox's spool is full old files go first, then truncating streams drop and blocking ones wait") {
    Bench bench;
    bench.budget = std::make_shared<SpoolBudget>(10'000);
    auto old = bench.open({}, "old");
    Pipe first = make_pipe();
    bench.start(old, std::move(first.read));
    put(first.write, std::string(10'000, 'o'));
    first.write.reset();
    run(bench.context, [](std::shared_ptr<Spill> s) -> asio::awaitable<void> { (void)co_await s->until_hung_up(); }(old));
    REQUIRE(bench.budget->used() == 10'000);
    bench.budget->on_full = [&] { old->unlink(bench.folder.get()); };

    auto fresh = bench.open({}, "new");
    Pipe second = make_pipe();
    bench.start(fresh, std::move(second.read));
    put(second.write, std::string(15'000, 'n'));
    second.write.reset();
    run(bench.context, [](std::shared_ptr<Spill> s) -> asio::awaitable<void> { (void)co_await s->until_hung_up(); }(fresh));
    REQUIRE(fresh->size() == 10'000);
    REQUIRE(fresh->dropped() == 5'000);
    REQUIRE_FALSE(sys::exists(bench.dir.path + "/old"));
    REQUIRE(bench.budget->used() == 10'000);
    // A reader that was at the old file goes on.
    REQUIRE(run(bench.context, read_all(old, 0, 4096)).bytes == 10'000);
}

TEST_CASE("a byte reaches a waiting reader in well under a millisecond on a quiet machine") {
    Bench bench;
    auto spill = bench.open();
    Pipe pipe = make_pipe();
    bench.start(spill, std::move(pipe.read));
    using Clock = std::chrono::steady_clock;
    Clock::duration best = std::chrono::hours{1};
    for (std::uint64_t i = 0; i < 200; ++i) {
        std::optional<Clock::time_point> seen;
        asio::co_spawn(bench.context, read_text(spill, i), [&](std::exception_ptr, std::string) {
            seen = Clock::now();
            bench.context.stop();
        });
        bench.context.restart();
        bench.context.poll();  // the reader waits now
        const auto written = Clock::now();
        put(pipe.write, "x");
        bench.context.restart();
        bench.context.run_for(std::chrono::seconds{10});
        REQUIRE(seen);
        best = std::min(best, *seen - written);
    }
    INFO(std::chrono::duration_cast<std::chrono::microseconds>(best).count() << " us");
    REQUIRE(best < std::chrono::milliseconds{1});
}
