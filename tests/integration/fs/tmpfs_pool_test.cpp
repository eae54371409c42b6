#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cerrno>

#include "sandboxd/core/sys.hpp"
#include "tests/integration/fs/support.hpp"
#include "tests/unit/fs/result_printer.hpp"

using namespace sandboxd;
using namespace sandboxd::fs;
using namespace sandboxd::fs::test;

namespace {

// A host without btrfs-progs.
PoolConfig without_mkfs(const StateDir& state) {
    PoolConfig config = state.config();
    config.allow_tmpfs = true;
    config.program_path = "/nowhere";
    return config;
}

std::unique_ptr<Pool> open_tmpfs(const StateDir& state) {
    auto pool = Pool::open(without_mkfs(state));
    REQUIRE(pool);
    REQUIRE((*pool)->kind() == PoolKind::tmpfs);
    return *std::move(pool);
}

}  // namespace

TEST_CASE("without mkfs and without leave for tmpfs the error names the package") {
    const StateDir state;
    PoolConfig config = without_mkfs(state);
    config.allow_tmpfs = false;
    const auto pool = Pool::open(config);
    REQUIRE_FALSE(pool);
    CHECK(pool.error().is(Errc::incompatible));
    CHECK(pool.error().message().find("btrfs-progs") != std::string::npos);
    CHECK_FALSE(sys::exists(state.path() + "/pool.btrfs"));
    CHECK_FALSE(sys::exists(state.path() + "/pool.btrfs.new"));
}

TEST_CASE("an existing image needs no mkfs") {
    const StateDir state;
    REQUIRE(state.open()->close());
    const auto pool = Pool::open(without_mkfs(state));
    REQUIRE(pool);
    CHECK((*pool)->kind() != PoolKind::tmpfs);
}

TEST_CASE("a tmpfs volume is limited, counted, resized and removed") {
    const StateDir state;
    const auto pool = open_tmpfs(state);
    const auto path = pool->create("v1", 16 * kMiB);
    REQUIRE(path);
    CHECK(pool->create("v1", 16 * kMiB).error().is(Errc::conflict));
    struct stat st {};
    REQUIRE(::stat(path->c_str(), &st) == 0);
    CHECK((st.st_mode & 07777) == 0700);
    {
        const Overlay overlay{state, *path, "v1"};
        const Written written = append(overlay.path() + "/f", 64 * kMiB);
        CHECK(written.error == ENOSPC);
        CHECK(written.bytes > 15 * kMiB);
    }
    CHECK(get(pool->used_bytes("v1")) > 15 * kMiB);
    CHECK(pool->set_limit("v1", 8 * kMiB).error().is(Errc::conflict));
    REQUIRE(pool->set_limit("v1", 32 * kMiB));
    CHECK(append(*path + "/u/g", 8 * kMiB).error == 0);
    CHECK(get(pool->list()) == std::vector<std::string>{"v1"});
    REQUIRE(pool->remove("v1"));
    CHECK(pool->remove("v1"));
    CHECK_FALSE(is_mounted(*path));
    CHECK_FALSE(sys::exists(*path));
    CHECK(pool->used_bytes("v1").error().is(Errc::not_found));
    CHECK(pool->set_limit("v1", 8 * kMiB).error().is(Errc::not_found));
}

TEST_CASE("a tmpfs volume's files are limited in number") {
    const StateDir state;
    const auto pool = open_tmpfs(state);
    const auto path = pool->create("v1", 8 * kMiB);
    REQUIRE(path);
    int files = 0;
    while (files < 10'000 && append(*path + "/u/f" + std::to_string(files), 0).error == 0) ++files;
    CHECK(files > 900);
    CHECK(files < 1100);
}

TEST_CASE("a snapshot on tmpfs is refused with the cure") {
    const StateDir state;
    const auto pool = open_tmpfs(state);
    REQUIRE(pool->create("v1", 16 * kMiB));
    const auto copy = pool->snapshot("v1", "v2", 16 * kMiB);
    REQUIRE_FALSE(copy);
    CHECK(copy.error().is(Errc::incompatible));
    CHECK(copy.error().message().find("btrfs-progs") != std::string::npos);
}

TEST_CASE("after a crash living tmpfs volumes are adopted, even if btrfs has come since") {
    const StateDir state;
    write_text(get(open_tmpfs(state)->create("v1", 16 * kMiB)) + "/u/f", "kept");
    REQUIRE(sys::ensure_dir(state.path() + "/pool/old", 0700));  // its mount went with a boot
    PoolConfig config = state.config();
    config.allow_tmpfs = true;
    auto pool = Pool::open(config);
    REQUIRE(pool);
    CHECK((*pool)->kind() == PoolKind::tmpfs);
    CHECK(get((*pool)->list()) == std::vector<std::string>{"v1"});
    CHECK(read_text(state.path() + "/pool/v1/u/f") == "kept");
    CHECK_FALSE(sys::exists(state.path() + "/pool/old"));

    REQUIRE((*pool)->close());
    CHECK_FALSE(sys::exists(state.path() + "/pool"));
    pool = Pool::open(config);
    REQUIRE(pool);
    CHECK((*pool)->kind() != PoolKind::tmpfs);
}
