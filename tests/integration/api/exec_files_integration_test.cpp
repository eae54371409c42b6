#include <catch2/catch.hpp>

#include "tests/integration/api/exec_host.hpp"

// Files: what a client gets when the paths lead into a real jail.
namespace sandboxd::api::testing {

using nlohmann::json;

TEST_CASE_METHOD(Host, "what is uploaded is downloaded, in parts too, and replaced as a whole") {
    const std::string files = box() + "/files";
    const auto made = ask("PUT " + files + "?path=a/b.txt&mode=0750", "hello\n");
    REQUIRE(made->ok());
    CHECK(made->answer->status == 201);
    CHECK(made->json()["mode"] == "0750");
    CHECK(made->json()["uid"] == 1000);
    CHECK(made->json()["size"] == 6);
    const auto replaced = ask("PUT " + files + "?path=a/b.txt", "again!");
    CHECK(replaced->answer->status == 200);
    CHECK(replaced->json()["mode"] == "0750");
    const auto whole = ask("GET " + files + "?path=a/b.txt");
    CHECK(whole->streamed == "again!");
    const std::string etag = whole->answer_header("ETag").value();
    // The answer to an upload names the very version.
    CHECK(replaced->answer_header("ETag") == etag);
    CHECK(made->answer_header("ETag") != etag);
    FakeExchange part{context, *engine};
    part.headers["Range"] = "bytes=1-3";
    part.headers["If-Range"] = etag;
    part.start("GET " + files + "?path=a/b.txt");
    finish(part);
    CHECK(part.streamed == "gai");
    CHECK(part.head->status == 206);
}

TEST_CASE_METHOD(Host, "what is not there, not allowed or no file says so") {
    const std::string box = this->box();
    const std::string files = box + "/files";
    CHECK(ask("GET " + files + "?path=nope")->error().errc() == Errc::not_found);
    CHECK(ask("GET " + files + "?path=/root/x")->error().errc() == Errc::forbidden);
    CHECK(ask("PUT " + files + "?path=/etc/passwd", "x")->error().errc() == Errc::forbidden);
    CHECK(ask("GET " + files + "?path=/home/user")->error().errc() == Errc::conflict);
    CHECK(ask("PUT " + files + "?path=/home/user", "x")->error().errc() == Errc::conflict);
    shell(box, "mkfifo pipe; ln -s loop loop; ln -s /proc/1/root/etc/shadow p");
    CHECK(ask("GET " + files + "?path=pipe")->error().errc() == Errc::conflict);
    CHECK(ask("GET " + files + "?path=/dev/zero")->error().errc() == Errc::conflict);
    CHECK_FALSE(ask("GET " + files + "?path=loop")->ok());
    CHECK_FALSE(ask("GET " + files + "?path=p")->ok());
    CHECK(ask("DELETE " + files + "?path=nope")->error().errc() == Errc::not_found);
    CHECK(ask("GET " + files + "/list?path=nope")->error().errc() == Errc::not_found);
    CHECK(ask("GET " + files + "/watch?path=nope")->error().errc() == Errc::not_found);
    CHECK(ask("POST " + files + "/move", R"({"from":"nope","to":"x"})")->error().errc() == Errc::not_found);
}

TEST_CASE_METHOD(Host, "folders are made, listed, moved and deleted; a link is written through") {
    const std::string box = this->box();
    const std::string files = box + "/files";
    REQUIRE(ask("POST " + files + "/mkdir", R"({"path":"t/a/b","mode":"0750"})")->ok());
    shell(box, "touch t/1 t/a/3; ln -s 1 t/link; mkfifo t/fifo");
    const json flat = ask("GET " + files + "/list?path=t")->json();
    json types = json::object();
    for (const json& entry : flat["entries"]) types[entry["name"].get<std::string>()] = entry["type"];
    CHECK(types == json{{"1", "file"}, {"a", "directory"}, {"link", "symlink"}, {"fifo", "fifo"}});
    CHECK(flat["truncated"] == false);
    CHECK(ask("GET " + files + "/list?path=t&depth=9")->json()["entries"].size() == 6);
    const json cut = ask("GET " + files + "/list?path=t&limit=2")->json();
    CHECK(cut["entries"].size() == 2);
    CHECK(cut["truncated"] == true);
    CHECK(ask("POST " + files + "/move", R"({"from":"t","to":"n"})")->json()["type"] == "directory");
    CHECK(ask("PUT " + files + "?path=n/link", "new")->answer->status == 200);
    CHECK(shell(box, "echo $(cat n/1) $(stat -c %F n/link)")["stdout"] == "new symbolic link\n");
    CHECK(ask("DELETE " + files + "?path=n")->answer->status == 204);
    CHECK(ask("GET " + files + "/stat?path=n")->error().errc() == Errc::not_found);
}

TEST_CASE_METHOD(Host, "an upload that breaks off or does not fit leaves what was there") {
    const std::string box = this->box();
    const std::string files = box + "/files";
    REQUIRE(ask("PUT " + files + "?path=f", "old")->ok());
    FakeExchange broken{context, *engine};
    broken.start("PUT " + files + "?path=f", std::string(300'000, 'x'));
    run_until([&] { return shell(box, "ls -A | grep -c upload; true")["stdout"] == "1\n"; });
    broken.push_piece(std::nullopt);
    finish(broken);
    CHECK_FALSE(broken.ok());
    run_until([&] { return shell(box, "ls -A | grep -c upload; true")["stdout"] == "0\n"; });
    CHECK(ask("GET " + files + "?path=f")->streamed == "old");
    const auto large = ask("PUT " + files + "?path=g", std::string(100 << 20, 'x'));
    REQUIRE_FALSE(large->ok());
    CHECK(large->error().errc() == Errc::disk_full);
    // The answer comes when the space is there again.
    CHECK(shell(box, "echo room > small && cat small")["stdout"] == "room\n");
    CHECK(ask("GET " + files + "/stat?path=g")->error().errc() == Errc::not_found);
}

TEST_CASE_METHOD(Host, "a watched folder tells what happens in it") {
    const std::string box = this->box();
    shell(box, "mkdir w");
    FakeExchange watch{context, *engine};
    watch.start("GET " + box + "/files/watch?path=w&recursive=true");
    run_until([&] { return !watch.wire->events.empty(); });
    CHECK(watch.wire->events[0]["type"] == "ready");
    shell(box, "echo x > w/new; rm w/new; mkdir w/sub");
    const auto seen = [&](const std::string& type, const std::string& path) {
        return std::count(watch.wire->events.begin(), watch.wire->events.end(), json{{"type", type}, {"path", path}}) > 0;
    };
    run_until([&] { return seen("create", "sub"); });
    CHECK(seen("create", "new"));
    CHECK(seen("remove", "new"));
    watch.wire->leave();
    finish(watch);
}

}  // namespace sandboxd::api::testing
