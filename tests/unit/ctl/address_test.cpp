#include "sandboxd/ctl/address.hpp"

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "sandboxd/ctl/remote_path.hpp"
#include "sandboxd/ctl/target.hpp"

using namespace sandboxd;
using namespace sandboxd::ctl;

namespace {

class Folder {
public:
    Folder() {
        std::string name = (std::filesystem::temp_directory_path() / "ctl-test-XXXXXX").string();
        path_ = ::mkdtemp(name.data());
    }
    ~Folder() { std::filesystem::remove_all(path_); }
    [[nodiscard]] const std::string& path() const { return path_; }
    void write(const std::string& name, const std::string& text) const {
        std::ofstream{path_ + '/' + name} << text;
    }

private:
    std::string path_;
};

Address parsed(const std::string& url) {
    auto address = parse_address(url);
    INFO(url);
    REQUIRE(address);
    return *address;
}

}  // namespace

TEST_CASE("an address is a scheme, a host and a port, with its defaults") {
    CHECK(parsed("http://127.0.0.1:8090") == Address{Scheme::http, "127.0.0.1", 8090, "", ""});
    CHECK(parsed("http://host") == Address{Scheme::http, "host", 80, "", ""});
    CHECK(parsed("https://host.example/") == Address{Scheme::https, "host.example", 443, "", ""});
    CHECK(parsed("https://[::1]:8443/behind/proxy/") ==
          Address{Scheme::https, "::1", 8443, "", "/behind/proxy"});
    CHECK(parsed("unix:///run/sandboxd.sock") ==
          Address{Scheme::unix_socket, "", 0, "/run/sandboxd.sock", ""});
}

TEST_CASE("what is no address is refused with an example") {
    for (const char* url :
         {"", "host", "ftp://host", "http://", "http://:80", "http://host:", "http://host:0",
          "http://host:65536", "http://host:8x", "http://[::1", "http://[::1]x", "http://user@host",
          "http://host?x", "http://host#x", "unix://relative", "unix:/one", "http://ho st",
          "http://host\r\nX: y"}) {
        INFO(url);
        auto address = parse_address(url);
        REQUIRE_FALSE(address);
        CHECK(address.error().is(Errc::invalid_argument));
        CHECK(address.error().message().find("http://127.0.0.1:8090") != std::string::npos);
    }
    CHECK_FALSE(parse_address("unix:///" + std::string(120, 'x')));
}

TEST_CASE("an address is written as it is read") {
    for (const char* url :
         {"http://127.0.0.1:8090", "http://host", "https://[::1]:8443/x", "unix:///run/x.sock"}) {
        CHECK(to_string(parsed(url)) == url);
    }
    CHECK(host_header(parsed("http://[::1]:80")) == "[::1]");
    CHECK(host_header(parsed("https://h:80")) == "h:80");
}

TEST_CASE("only this machine is local") {
    for (const char* url : {"http://localhost", "http://127.0.0.1", "http://127.9.9.9:1",
                            "http://[::1]", "unix:///x"})
        CHECK(is_local(parsed(url)));
    for (const char* url :
         {"http://10.0.0.1", "http://127.0.0.1.evil.example", "https://host", "http://[::2]"})
        CHECK_FALSE(is_local(parsed(url)));
}

TEST_CASE("reserved characters are escaped") {
    CHECK(percent_encode("aZ09-._~") == "aZ09-._~");
    CHECK(percent_encode("a b/c?d=e&f\xff") == "a%20b%2Fc%3Fd%3De%26f%FF");
}

TEST_CASE("the command line wins over the environment, and that over the key file") {
    const Folder folder;
    folder.write("dev.key", "  sbx_file\n");
    Wanted wanted;
    wanted.env_url = "http://127.0.0.1:1";
    wanted.env_key = "sbx_env";
    CHECK(resolve_target(wanted)->key == "sbx_env");
    CHECK(to_string(resolve_target(wanted)->address) == "http://127.0.0.1:1");
    wanted.state_dir = folder.path();
    CHECK(resolve_target(wanted)->key == "sbx_file");
    wanted.key = "sbx_flag";
    wanted.url = "https://h";
    wanted.env_ca_file = "/env";
    CHECK(resolve_target(wanted)->key == "sbx_flag");
    CHECK(resolve_target(wanted)->ca_file == "/env");
    CHECK(to_string(resolve_target(wanted)->address) == "https://h");
}

TEST_CASE("the default key is not sent to another machine, but when it was asked for") {
    const Folder folder;
    folder.write("dev.key", "sbx_file\n");
    Wanted wanted;
    wanted.url = "http://10.0.0.1";
    auto target = resolve_target(wanted);
    REQUIRE(target);
    CHECK(target->key.empty());
    CHECK_FALSE(target->key_note.empty());
    wanted.state_dir = folder.path();
    CHECK(resolve_target(wanted)->key == "sbx_file");
}

TEST_CASE("without an address and a key the state directory's socket is used") {
    const Folder folder;
    Wanted wanted;
    wanted.state_dir = folder.path();
    CHECK(to_string(resolve_target(wanted)->address) == kDefaultUrl);
    folder.write("sandboxd.sock", "");
    CHECK(to_string(resolve_target(wanted)->address) ==
          "unix://" + folder.path() + "/sandboxd.sock");
    wanted.env_key = "sbx_env";
    CHECK(to_string(resolve_target(wanted)->address) == kDefaultUrl);
}

TEST_CASE("a key is one word, or it could carry other headers along") {
    Wanted wanted;
    wanted.key = "sbx\r\nX-Evil: 1";
    CHECK_FALSE(resolve_target(wanted));
}

TEST_CASE("a path in a sandbox begins with its id") {
    CHECK(parse_remote("abcdefgh:x/y") == RemotePath{"abcdefgh", "x/y"});
    CHECK(parse_remote("abcdefgh:") == RemotePath{"abcdefgh", "."});
    CHECK(parse_remote("abcdefgh:/a:b") == RemotePath{"abcdefgh", "/a:b"});
    for (const char* path : {"x", "short:x", "./abcdefgh:x", "Abcdefgh:x", "abcdefgh", "-"})
        CHECK_FALSE(parse_remote(path));
    CHECK(base_name("a/b/") == "b");
    CHECK(base_name("b") == "b");
    CHECK(base_name("/").empty());
}
