#include "fs/host_etc.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "fs/skeleton.hpp"
#include "sandboxd/core/sys.hpp"
#include "tests/unit/fs/result_printer.hpp"

using namespace sandboxd;
using namespace sandboxd::fs;

namespace {

// A host of the test's own: /etc with good and bad things, usr-merge links.
class FakeHost {
public:
    FakeHost() {
        std::string pattern = "/tmp/fs_host_etc.XXXXXX";
        REQUIRE(::mkdtemp(pattern.data()) != nullptr);
        root = pattern;
        for (const char* name : {"bin", "sbin", "lib"}) link(name, "usr/" + std::string{name});
        folder("etc", 0755);
    }
    ~FakeHost() { std::filesystem::remove_all(root); }
    FakeHost(const FakeHost&) = delete;
    FakeHost& operator=(const FakeHost&) = delete;

    void folder(const std::string& path, mode_t mode) {
        REQUIRE(::mkdir((root + "/" + path).c_str(), 0700) == 0);
        REQUIRE(::chmod((root + "/" + path).c_str(), mode) == 0);
    }
    void file(const std::string& path, const std::string& content, mode_t mode = 0644) {
        std::ofstream{root + "/" + path} << content;
        REQUIRE(::chmod((root + "/" + path).c_str(), mode) == 0);
    }
    void link(const std::string& path, const std::string& target) {
        REQUIRE(::symlink(target.c_str(), (root + "/" + path).c_str()) == 0);
    }
    Tree skeleton() {
        auto tree = host_skeleton(root);
        REQUIRE(tree);
        return *tree;
    }

    std::string root;
};

}  // namespace

TEST_CASE("what programs need of /etc is taken with its content") {
    FakeHost host;
    host.folder("etc/ssl", 0755);
    host.folder("etc/ssl/certs", 0755);
    host.file("etc/ssl/certs/ca.pem", "public");
    host.link("etc/ssl/certs/hash.0", "ca.pem");
    host.file("etc/ld.so.cache", std::string("binary\0cache", 12));
    const Tree tree = host.skeleton();
    CHECK(tree.at("etc/ssl/certs/ca.pem").content == "public");
    CHECK(tree.at("etc/ssl/certs/hash.0").kind == NodeKind::link);
    CHECK(tree.at("etc/ld.so.cache").content == std::string("binary\0cache", 12));
}

TEST_CASE("what only some may read on the host stays out of the template") {
    FakeHost host;
    host.file("etc/services", "secret", 0640);
    host.folder("etc/ssl", 0755);
    host.file("etc/ssl/openssl.cnf", "secret", 0600);
    host.folder("etc/fonts", 0700);
    host.file("etc/fonts/fonts.conf", "secret", 0644);
    const Tree tree = host.skeleton();
    CHECK_FALSE(tree.contains("etc/services"));
    CHECK(tree.contains("etc/ssl"));
    CHECK_FALSE(tree.contains("etc/ssl/openssl.cnf"));
    CHECK_FALSE(tree.contains("etc/fonts"));
    CHECK_FALSE(tree.contains("etc/fonts/fonts.conf"));
}

TEST_CASE("names that are secrets stay out even if anybody may read them") {
    FakeHost host;
    host.folder("etc/ssl", 0755);
    host.folder("etc/ssl/private", 0755);
    host.file("etc/ssl/private/site.pem", "secret");
    host.file("etc/ssl/site.key", "secret");
    host.folder("etc/java-17", 0755);
    host.file("etc/java-17/jmxremote.password", "secret");
    for (const char* name :
         {"shadow", "npmrc", "pip.conf", "environment", "gitconfig", "machine-id", "sudoers"}) {
        host.file(std::string{"etc/"} + name, "secret");
    }
    for (const auto& [path, node] : host.skeleton()) {
        INFO(path);
        CHECK(node.content != "secret");
        CHECK(path.find("private") == std::string::npos);
    }
}

TEST_CASE("a link is copied and never followed") {
    FakeHost host;
    host.file("secret-file", "secret");
    host.folder("secret-folder", 0755);
    host.file("secret-folder/inner", "secret");
    host.link("etc/services", "../secret-file");
    host.link("etc/fonts", "../secret-folder");
    const Tree tree = host.skeleton();
    CHECK(tree.at("etc/services") == Node{NodeKind::link, 0777, 0, "../secret-file"});
    CHECK(tree.at("etc/fonts") == Node{NodeKind::link, 0777, 0, "../secret-folder"});
    CHECK_FALSE(tree.contains("etc/fonts/inner"));
}

TEST_CASE("a FIFO in place of a file neither blocks nor is copied") {
    FakeHost host;
    REQUIRE(::mkfifo((host.root + "/etc/services").c_str(), 0666) == 0);
    CHECK_FALSE(host.skeleton().contains("etc/services"));
}

TEST_CASE("a file past the size limit is left out") {
    FakeHost host;
    host.file("etc/services", std::string((4U << 20U) + 1, 'x'));
    host.file("etc/protocols", std::string(4U << 20U, 'x'));
    const Tree tree = host.skeleton();
    CHECK_FALSE(tree.contains("etc/services"));
    CHECK(tree.at("etc/protocols").content.size() == 4U << 20U);
}

TEST_CASE("setuid bits and other people's write permission are taken away") {
    FakeHost host;
    host.file("etc/profile", "x", 06777);
    CHECK(host.skeleton().at("etc/profile").mode == 0755);
}

TEST_CASE("the template has users of its own, not the host's") {
    FakeHost host;
    host.file("etc/passwd", "admin:x:1001:1001::/home/admin:/bin/bash\n");
    host.file("etc/hosts", "10.0.0.1 internal\n");
    const Tree tree = host.skeleton();
    CHECK(tree.at("etc/passwd").content.find("admin") == std::string::npos);
    CHECK(tree.at("etc/passwd").content.find("user:*:1000:1000:user:/home/user:/bin/bash\n") !=
          std::string::npos);
    CHECK(tree.at("etc/hosts").content.find("internal") == std::string::npos);
}

TEST_CASE("su and runuser have rules of the template, not the host's") {
    FakeHost host;
    host.folder("etc/pam.d", 0755);
    host.file("etc/pam.d/su", "auth required pam_ldap.so\n");
    host.file("etc/pam.d/sshd", "auth required pam_ldap.so\n");
    const Tree tree = host.skeleton();
    CHECK(tree.at("etc/pam.d/su").content.starts_with("auth sufficient pam_rootok.so\n"));
    CHECK(tree.at("etc/pam.d/other").content.starts_with("auth required pam_deny.so\n"));
    CHECK_FALSE(tree.contains("etc/pam.d/sshd"));
}

TEST_CASE("the folder that chromium's wrapper sources is not empty, and has no keys of the host") {
    FakeHost host;
    host.folder("etc/chromium.d", 0755);
    host.file("etc/chromium.d/apikeys", "export GOOGLE_API_KEY=secret\n");
    const Tree tree = host.skeleton();
    CHECK(tree.contains("etc/chromium.d/README"));
    CHECK_FALSE(tree.contains("etc/chromium.d/apikeys"));
}

TEST_CASE("the home folder is the user's and has the host's skeleton files") {
    FakeHost host;
    host.folder("etc/skel", 0755);
    host.file("etc/skel/.bashrc", "PS1=x\n");
    const Tree tree = host.skeleton();
    CHECK(tree.at("home/user") == Node{NodeKind::folder, 0755, 1000, {}});
    CHECK(tree.at("home/user/.bashrc") == Node{NodeKind::file, 0644, 1000, "PS1=x\n"});
    CHECK(tree.at("tmp").mode == 01777);
    CHECK(tree.at("root").mode == 0700);
}

TEST_CASE("usr-merge links are as on the host, written relative") {
    FakeHost host;
    host.link("lib64", "/usr/lib64");
    const Tree tree = host.skeleton();
    CHECK(tree.at("bin") == Node{NodeKind::link, 0777, 0, "usr/bin"});
    CHECK(tree.at("lib64").content == "usr/lib64");
    CHECK_FALSE(tree.contains("lib32"));
}

TEST_CASE("a host without merged /usr is refused with the cure") {
    FakeHost host;
    std::filesystem::remove(host.root + "/bin");
    host.folder("bin", 0755);
    auto tree = host_skeleton(host.root);
    REQUIRE_FALSE(tree);
    CHECK(tree.error().is(Errc::incompatible));
    CHECK(tree.error().message().find("usrmerge") != std::string::npos);

    std::filesystem::remove(host.root + "/bin");
    host.link("bin", "../elsewhere");
    CHECK_FALSE(host_skeleton(host.root));
}
