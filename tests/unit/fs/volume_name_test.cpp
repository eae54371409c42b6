#include "fs/volume_name.hpp"

#include <catch2/catch.hpp>

#include "tests/unit/fs/result_printer.hpp"

using sandboxd::Errc;
using sandboxd::fs::check_volume_name;

TEST_CASE("a volume name is one to forty lower-case letters and digits") {
    CHECK(check_volume_name("a"));
    CHECK(check_volume_name("0"));
    CHECK(check_volume_name(std::string(40, 'z')));
}

TEST_CASE("a name that could leave the pool or hide in it is refused") {
    using namespace std::string_view_literals;
    for (const std::string_view name :
         {""sv, "."sv, ".."sv, "../x"sv, "a/b"sv, "/a"sv, "a\0b"sv, "A"sv, "a-b"sv, "a_b"sv,
          "a b"sv, ".new"sv, "ä"sv, "a\n"sv}) {
        const auto checked = check_volume_name(name);
        REQUIRE_FALSE(checked);
        CHECK(checked.error().is(Errc::invalid_argument));
    }
    CHECK_FALSE(check_volume_name(std::string(41, 'a')));
}
