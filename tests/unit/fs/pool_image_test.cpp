#include "fs/pool_image.hpp"

#include <catch2/catch.hpp>
#include <cstring>

#include "fs/btrfs.hpp"
#include "tests/unit/fs/result_printer.hpp"

using namespace sandboxd;
using namespace sandboxd::fs;

namespace {

constexpr std::uint64_t kGiB = 1024 * kMiB;

std::vector<std::byte> superblock(std::string_view magic, std::string_view label) {
    std::vector<std::byte> bytes(btrfs::kSuperblockBytes);
    std::memcpy(bytes.data() + 64, magic.data(), magic.size());
    std::memcpy(bytes.data() + 299, label.data(), label.size());
    return bytes;
}

}  // namespace

TEST_CASE("by default the image may fill three quarters of what is free") {
    const auto bytes = plan_image_bytes(0, 80 * kGiB + 12345);
    REQUIRE(bytes);
    CHECK(*bytes == 60 * kGiB);
}

TEST_CASE("a size from the configuration is taken as it is, in whole MiB") {
    const auto bytes = plan_image_bytes(10 * kGiB + 1, 80 * kGiB);
    REQUIRE(bytes);
    CHECK(*bytes == 10 * kGiB);
}

TEST_CASE("an image too small to work is refused") {
    const auto bytes = plan_image_bytes(kMinImageBytes - 1, 80 * kGiB);
    REQUIRE_FALSE(bytes);
    CHECK(bytes.error().is(Errc::invalid_argument));
}

TEST_CASE("a full disk is told with what is needed and what is free") {
    for (const std::uint64_t asked : {std::uint64_t{0}, kMinImageBytes}) {
        const auto bytes = plan_image_bytes(asked, 300 * kMiB);
        REQUIRE_FALSE(bytes);
        CHECK(bytes.error().is(Errc::disk_full));
        CHECK(bytes.error().message().find(std::to_string(512 * kMiB)) != std::string::npos);
        CHECK(bytes.error().message().find(std::to_string(300 * kMiB)) != std::string::npos);
    }
}

TEST_CASE("the label of an image is read from its superblock") {
    CHECK(btrfs::superblock_label(superblock("_BHRfS_M", "sandboxd-pool-1")) == "sandboxd-pool-1");
    CHECK(btrfs::superblock_label(superblock("_BHRfS_M", "")) == "");
    CHECK(btrfs::superblock_label(superblock("_BHRfS_M", std::string(256, 'x'))) ==
          std::string(256, 'x'));
}

TEST_CASE("bytes that are no superblock have no label") {
    CHECK_FALSE(btrfs::superblock_label(superblock("_BHRfS_X", "sandboxd-pool-1")));
    CHECK_FALSE(btrfs::superblock_label({}));
    const auto whole = superblock("_BHRfS_M", "sandboxd-pool-1");
    CHECK_FALSE(btrfs::superblock_label(std::span{whole}.first(400)));
}
