#include "sandboxd/core/error.hpp"

#include <catch2/catch.hpp>
#include <cerrno>
#include <memory>
#include <set>
#include <sstream>

#include "sandboxd/core/fd.hpp"
#include "sandboxd/core/result.hpp"
#include "sandboxd/core/strong_id.hpp"

namespace sandboxd {
namespace {

Result<std::unique_ptr<int>> give(bool good) {
    if (!good) return Error{Errc::not_found, "give", "nothing"};
    return std::make_unique<int>(7);
}

Result<void> check(bool good) {
    if (!good) return Error{Errc::conflict, "check"};
    return {};
}

Result<int> chain(bool first, bool second) {
    SBX_TRY(const std::unique_ptr<int> value, give(first));
    SBX_CHECK(check(second));
    int out = 0;
    SBX_TRY(out, Result<int>{*value + 1});
    return out;
}

TEST_CASE("SBX_TRY hands on a value or returns the error, moving what can't be copied") {
    const auto good = chain(true, true);
    REQUIRE(good);
    CHECK(*good == 8);
    const auto first = chain(false, true);
    REQUIRE(!first);
    CHECK(first.error().is(Errc::not_found));
    CHECK(first.error().detail() == "nothing");
    const auto second = chain(true, false);
    REQUIRE(!second);
    CHECK(second.error().is(Errc::conflict));
}

TEST_CASE("SBX_TRY evaluates its expression once") {
    int calls = 0;
    const auto count = [&]() -> Result<int> { return ++calls; };
    const auto twice = [&]() -> Result<int> {
        SBX_TRY(const int a, count());
        SBX_TRY(const int b, count());
        return a * 10 + b;
    };
    CHECK(*twice() == 12);
    CHECK(calls == 2);
}

TEST_CASE("the message says what was attempted, on what, and why") {
    CHECK(Error{Errc::conflict, "mount", "/proc"}.message() == "mount: /proc");
    CHECK(errno_error(ENOENT, "open", "/no").message() == "open: /no: No such file or directory");
    CHECK(errno_error(EPERM, "", "").message() == "Operation not permitted");
    CHECK(Error{Errc::draining, ""}.message() == "draining");
    const Error with = Error{Errc::conflict, "mount", "/proc"}.with("sandbox x").with("creating");
    CHECK(with.message() == "creating: sandbox x: mount: /proc");
    std::ostringstream out;
    out << with;
    CHECK(out.str() == with.message());
}

TEST_CASE("an error remembers its place and its facts") {
    const Error error =
        Error{Errc::limit_exceeded, "limits"}.fact("limit", "pids").fact("asked", 9);
    CHECK(std::string_view{error.where().file_name()}.find("error_test.cpp") !=
          std::string_view::npos);
    CHECK(error.where().line() > 0);
    REQUIRE(error.facts().size() == 2);
    CHECK(error.facts()[0].first == "limit");
    CHECK(error.facts()[0].second == Error::Fact{std::string{"pids"}});
    CHECK(error.facts()[1].second == Error::Fact{std::int64_t{9}});
}

TEST_CASE("an errno maps to the nearest code, and is not taken for one of ours") {
    CHECK(errno_error(ENOENT, "x").errc() == Errc::not_found);
    CHECK(errno_error(EACCES, "x").errc() == Errc::forbidden);
    CHECK(errno_error(ENOSPC, "x").errc() == Errc::disk_full);
    CHECK(errno_error(EDQUOT, "x").errc() == Errc::disk_full);
    CHECK(errno_error(ETIMEDOUT, "x").errc() == Errc::timeout);
    CHECK(errno_error(EAGAIN, "x").errc() == Errc::unavailable);
    CHECK(errno_error(ECANCELED, "x").errc() == Errc::canceled);
    CHECK(errno_error(EMFILE, "x").errc() == Errc::node_full);
    CHECK(errno_error(ENFILE, "x").errc() == Errc::node_full);
    CHECK(errno_error(EIO, "x").errc() == Errc::internal);
    // invalid_argument is 1, and so is EPERM.
    CHECK(!errno_error(EPERM, "x").is(Errc::invalid_argument));
    CHECK(!Error{Errc::invalid_argument, "x"}.is_errno(EPERM));
    CHECK(errno_error(EPERM, "x").is_errno(EPERM));
    CHECK(Error{boost::system::error_code{EPERM, boost::system::system_category()}, "x"}.is_errno(
        EPERM));
    errno = ENOTDIR;
    CHECK(errno_error("x").is_errno(ENOTDIR));
}

TEST_CASE("every code has a name of its own: they are part of the API") {
    std::set<std::string_view> names;
    for (int code = static_cast<int>(Errc::invalid_argument);
         code <= static_cast<int>(Errc::internal); ++code) {
        const auto name = to_string(static_cast<Errc>(code));
        CHECK(names.insert(name).second);
        CHECK(name.find_first_not_of("abcdefghijklmnopqrstuvwxyz_") == std::string_view::npos);
        CHECK(make_error_code(static_cast<Errc>(code)).message() == name);
        CHECK(Error(static_cast<Errc>(code), "x").errc() == static_cast<Errc>(code));
    }
}

TEST_CASE("ids of one kind compare and hash by their text") {
    using Id = StrongId<struct TestTag>;
    CHECK(Id{}.empty());
    CHECK(Id::trusted("a") == Id::trusted("a"));
    CHECK(Id::trusted("a") < Id::trusted("b"));
    CHECK(std::hash<Id>{}(Id::trusted("a")) == std::hash<Id>{}(Id::trusted("a")));
}

TEST_CASE("a descriptor is closed once, by its last owner") {
    CHECK(!Fd{}.valid());
    Fd none;
    none.reset();
    Fd a{std::move(none)};
    CHECK(!a.valid());
    const int released = std::move(a).release();
    CHECK(released == -1);
}

}  // namespace
}  // namespace sandboxd
