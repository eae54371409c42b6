#include <catch2/catch.hpp>

#include "sandboxd/config.hpp"
#include "sandboxd/listen_address.hpp"

using namespace sandboxd;

namespace {

std::string refusal(const std::string& toml) {
    auto config = parse_config(toml, "c.toml");
    REQUIRE_FALSE(config);
    CHECK(config.error().is(Errc::invalid_argument));
    return config.error().message();
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("an empty file is the defaults, which keep sandboxes over a restart") {
    auto config = parse_config("", "c.toml");
    REQUIRE(config);
    CHECK(config->listen == "127.0.0.1:8090");
    CHECK(config->on_stop == OnStop::keep);
    CHECK_FALSE(config->dev);
}

TEST_CASE("a refusal names the line, the key and what is allowed") {
    CHECK(has(refusal("\nlisen = \"x\""), "c.toml:2: lisen: expected one of the known keys (dev, listen,"));
    CHECK(has(refusal("sandboxes_max = 0"), "c.toml:1: sandboxes_max: expected an integer from 1 to 4096"));
    CHECK(has(refusal("sandboxes_max = \"9\""), "sandboxes_max: expected an integer"));
    CHECK(has(refusal("pool_tmpfs = 1"), "pool_tmpfs: expected true or false"));
    CHECK(has(refusal("on_stop = \"maybe\""), "on_stop: expected \"keep\" or \"destroy\""));
    CHECK(has(refusal("listen = \"8090\""), "c.toml: listen: 8090: expected ADDRESS:PORT"));
    CHECK(has(refusal("state_dir = \"here\""), "state_dir: expected an absolute path"));
    CHECK(has(refusal("tls_key = \"/k\""), "give both or none"));
    CHECK(has(refusal("a ="), "c.toml:1"));
    CHECK(has(refusal("[[tenants]]\nid = \"Acme\""), "a tenant id matches"));
    CHECK(has(refusal("[[tenants]]\nid = \"a\"\nsecret = 1"), "c.toml:3: tenants.secret"));
    CHECK(has(refusal("[[tenants]]\nid = \"a\"\nkey_hashes = [\"short\"]"), "SHA-256"));
    CHECK(has(refusal("[[tenants]]\nid = \"a\"\n[[tenants]]\nid = \"a\""), "stands there twice"));
}

TEST_CASE("what one program writes the other reads") {
    Config config = dev_config();
    config.listen = "[::1]:0";
    config.price_book = "{\"a\": \"quote \\\" and\\nline\"}";  // the API gets a text here
    config.pool_bytes = 3ULL << 30;
    config.log_level = log::Level::debug;
    config.unsafe_missing_controllers = {"blkio"};
    config.node = {1, 2, 3, 4};
    config.tenants[0].key_hashes = {std::string(64, 'a')};
    config.tenants[0].limits.per_sandbox.pids = 77;
    auto again = parse_config(to_toml(config), "handed over");
    REQUIRE(again);
    CHECK(to_toml(*again) == to_toml(config));
    CHECK(again->dev);
    CHECK(again->on_stop == OnStop::destroy);
    CHECK(again->price_book == config.price_book);
    CHECK(again->node == config.node);
    REQUIRE(again->tenants.size() == 1);
    CHECK(again->tenants[0].admin);
    CHECK(again->tenants[0].limits.per_sandbox.pids == 77);
}

TEST_CASE("listen addresses are numbers") {
    for (const char* good : {"127.0.0.1:8090", "0.0.0.0:0", "[::1]:65535", "localhost:1"}) CHECK(parse_listen_address(good));
    for (const char* bad : {"", ":1", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:1x", "example.org:80", "::1:80", "[::1:80", "[]:1"}) {
        INFO(bad);
        CHECK_FALSE(parse_listen_address(bad));
    }
}
