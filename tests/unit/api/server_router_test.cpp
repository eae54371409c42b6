#include "api/router.hpp"

#include <array>
#include <catch2/catch.hpp>

namespace sandboxd::api {

TEST_CASE("targets are decoded segment by segment") {
    const auto target = parse_target("/v1/items/a%20b?x=1&y=a+b%26c&z");
    REQUIRE(target);
    CHECK(target->segments == std::vector<std::string>{"v1", "items", "a b"});
    CHECK(target->query == Pairs{{"x", "1"}, {"y", "a b&c"}, {"z", ""}});
    CHECK(parse_target("http://host:80/v1/x")->path == "/v1/x");
    CHECK(parse_target("/")->segments == std::vector<std::string>{""});
    for (const char* bad : {"", "v1", "*", "/a/../b", "/%2e", "/a%2Fb", "/a%00", "/a%4", "/a%", "/a b", "/a#b", "/a//b", "/?x=%zz"}) {
        INFO(bad);
        CHECK_FALSE(parse_target(bad));
    }
}

TEST_CASE("a literal segment comes before a parameter, whatever the order of the rows") {
    static constexpr std::array kRows{
        Route{.method = "GET", .pattern = "/v1/{id}/exec/{exec_id}", .operation_id = "one"},
        Route{.method = "GET", .pattern = "/v1/{id}/exec/ws", .operation_id = "socket"},
        Route{.method = "DELETE", .pattern = "/v1/{id}/exec/{exec_id}", .operation_id = "end"},
    };
    const Router router{kRows};
    const Match socket = router.find("GET", *parse_target("/v1/a/exec/ws"));
    REQUIRE(socket.route);
    CHECK(socket.route->operation_id == "socket");
    const Match one = router.find("HEAD", *parse_target("/v1/a/exec/b"));
    REQUIRE(one.route);
    CHECK(one.params == Pairs{{"id", "a"}, {"exec_id", "b"}});
    CHECK(router.find("PUT", *parse_target("/v1/a/exec/b")).allow == "GET, DELETE");
    CHECK(router.find("GET", *parse_target("/v1/a/exec/")).route == nullptr);
    CHECK(router.find("GET", *parse_target("/v1/a")).allow.empty());
}

TEST_CASE("query parameters are held against the route's fields") {
    static constexpr std::array<std::string_view, 2> kStreams{"stdout", "stderr"};
    static constexpr std::array kFields{
        Field{.name = "path", .required = true, .description = "p"},
        Field{.name = "follow", .type = Type::boolean, .description = "f"},
        Field{.name = "offset", .type = Type::integer, .description = "o", .min = 0},
        Field{.name = "stream", .description = "s", .values = kStreams},
        Field{.name = "metadata.*", .description = "m"},
    };
    const Route route{.method = "GET", .pattern = "/x", .query = kFields};
    CHECK(check_query(route, {{"path", "a"}, {"follow", "true"}, {"offset", "12"}, {"stream", "stderr"}, {"metadata.a", "1"}, {"metadata.b", ""}}));
    const auto refused = [&](Pairs query) {
        query.emplace_back("path", "a");
        const auto checked = check_query(route, query);
        return checked ? std::string{} : checked.error().message();
    };
    CHECK(refused({{"follow", "yes"}}).find("follow") != std::string::npos);
    CHECK(refused({{"offset", "-1"}}).find("offset") != std::string::npos);
    CHECK(refused({{"offset", "1x"}}) != "");
    CHECK(refused({{"offset", "99999999999999999999"}}) != "");
    CHECK(refused({{"stream", "stdin"}}).find("stdout") != std::string::npos);
    CHECK(refused({{"metadata.", "1"}}) != "");
    CHECK(refused({{"path", "b"}}).find("twice") != std::string::npos);
    CHECK_FALSE(check_query(route, {}));
}

}  // namespace sandboxd::api
