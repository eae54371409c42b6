#include <catch2/catch.hpp>

#include "api/files_range.hpp"
#include "tests/unit/api/exec_bench.hpp"

// …/files: download, upload, folders, watching.
namespace sandboxd::api::testing {

namespace {

const std::string kFiles = "/v1/sandboxes/box00001/files";

struct FilesBench : Bench {
    FakeFiles& files = sandbox->file_system;
};

}  // namespace

TEST_CASE("a range is one part, the whole, or cannot be satisfied") {
    struct Case {
        std::string header;
        RangeKind kind;
        ByteRange range;
    };
    const std::vector<Case> cases{
        {"bytes=0-0", RangeKind::part, {0, 1}},
        {"bytes=2-", RangeKind::part, {2, 8}},
        {"bytes=2-99", RangeKind::part, {2, 8}},
        {"bytes=-3", RangeKind::part, {7, 3}},
        {"bytes=-99", RangeKind::part, {0, 10}},
        {"bytes=9-9", RangeKind::part, {9, 1}},
        {"bytes=10-", RangeKind::unsatisfiable, {}},
        {"bytes=-0", RangeKind::unsatisfiable, {}},
        {"bytes=18446744073709551615-", RangeKind::unsatisfiable, {}},
        {"bytes=5-4", RangeKind::whole, {}},
        {"bytes=-", RangeKind::whole, {}},
        {"bytes=0-1,3-4", RangeKind::whole, {}},
        {"bytes=a-b", RangeKind::whole, {}},
        {"bytes=99999999999999999999-", RangeKind::whole, {}},
        {"lines=0-1", RangeKind::whole, {}},
        {"", RangeKind::whole, {}},
    };
    for (const Case& one : cases) {
        CAPTURE(one.header);
        const RangeAnswer answer = parse_range(one.header, 10);
        CHECK(answer.kind == one.kind);
        CHECK(answer.range == one.range);
    }
    CHECK(parse_range("bytes=0-", 0).kind == RangeKind::unsatisfiable);
    CHECK(parse_range("bytes=-1", 0).kind == RangeKind::unsatisfiable);
}

TEST_CASE("a tag matches itself, weakly, in a list, or any") {
    CHECK(etag_matches("\"a\"", "\"a\""));
    CHECK(etag_matches("W/\"a\"", "\"a\""));
    CHECK(etag_matches("\"b\" , \"a\"", "\"a\""));
    CHECK(etag_matches("*", "\"a\""));
    CHECK_FALSE(etag_matches("", "\"a\""));
    CHECK_FALSE(etag_matches("\"ab\"", "\"a\""));
    CHECK_FALSE(etag_matches("a", "\"a\""));
}

TEST_CASE("a download's name survives any bytes") {
    CHECK(attachment("/home/user/r\xC3\xA9sum\xC3\xA9 \"1\".pdf") ==
          "attachment; filename*=UTF-8''r%C3%A9sum%C3%A9%20%221%22.pdf");
    CHECK(attachment("/a\r\nX: y") == "attachment; filename*=UTF-8''a%0D%0AX%3A%20y");
}

TEST_CASE("a file is downloaded as a whole with what identifies it") {
    FilesBench bench;
    bench.files.put("/data.bin", "0123456789");
    bench.files.piece = 3;
    FakeExchange exchange{bench.io, bench.engine};
    exchange.start("GET " + kFiles + "?path=/data.bin&user=root");
    REQUIRE(exchange.ok());
    CHECK(exchange.head->status == 200);
    CHECK(exchange.promised == 10);
    CHECK(exchange.streamed == "0123456789");
    CHECK(exchange.finished);
    CHECK(exchange.head->content_type == "application/octet-stream");
    CHECK(exchange.answer_header("Last-Modified") == "Tue, 15 Nov 1994 08:12:31 GMT");
    CHECK(exchange.answer_header("Accept-Ranges") == "bytes");
    CHECK(exchange.answer_header("Content-Disposition") == "attachment; filename*=UTF-8''data.bin");
    CHECK(exchange.answer_header("X-Content-Type-Options") == "nosniff");
    CHECK(bench.files.last_user.uid == 0);
    const std::string etag = exchange.answer_header("ETag").value();

    FakeExchange same{bench.io, bench.engine};
    same.headers["If-None-Match"] = etag;
    same.start("GET " + kFiles + "?path=/data.bin");
    REQUIRE(same.ok());
    CHECK(same.answer->status == 304);
    CHECK(same.answer->body.empty());
    bench.files.put("/data.bin", "9876543210");  // same size, same second, another file
    FakeExchange other{bench.io, bench.engine};
    other.headers["If-None-Match"] = etag;
    other.start("GET " + kFiles + "?path=/data.bin");
    CHECK(other.head->status == 200);
    CHECK(other.streamed == "9876543210");
}

TEST_CASE("a part of a file is downloaded") {
    FilesBench bench;
    bench.files.put("/f", "0123456789");
    FakeExchange exchange{bench.io, bench.engine};
    exchange.headers["Range"] = "bytes=-4";
    SECTION("unconditionally") {}
    SECTION("of the file it was begun on") {
        FakeExchange first{bench.io, bench.engine};
        first.start("HEAD " + kFiles + "?path=/f");
        CHECK(first.streamed.empty());
        CHECK(first.promised == 10);
        exchange.headers["If-Range"] = first.answer_header("ETag").value();
    }
    exchange.start("GET " + kFiles + "?path=/f");
    REQUIRE(exchange.ok());
    CHECK(exchange.head->status == 206);
    CHECK(exchange.promised == 4);
    CHECK(exchange.streamed == "6789");
    CHECK(exchange.answer_header("Content-Range") == "bytes 6-9/10");
}

TEST_CASE("a range of another version answers the whole, one beyond the end is refused") {
    FilesBench bench;
    bench.files.put("/f", "0123456789");
    FakeExchange exchange{bench.io, bench.engine};
    exchange.headers["Range"] = "bytes=4-";
    exchange.headers["If-Range"] = "\"older\"";
    exchange.start("GET " + kFiles + "?path=/f");
    CHECK(exchange.head->status == 200);
    CHECK(exchange.streamed == "0123456789");
    FakeExchange beyond{bench.io, bench.engine};
    beyond.headers["Range"] = "bytes=10-";
    beyond.start("GET " + kFiles + "?path=/f");
    REQUIRE(beyond.ok());
    CHECK(beyond.answer->status == 416);
    CHECK(beyond.json()["error"]["code"] == "range_not_satisfiable");
    CHECK(beyond.answer_header("Content-Range") == "bytes */10");
}

TEST_CASE("a file that shrinks breaks the download off, one that grows is cut at its first size") {
    FilesBench bench;
    bench.files.put("/f", "0123456789");
    FakeExchange exchange{bench.io, bench.engine};
    SECTION("shrinks") {
        bench.files.shrunk = "0123";
        exchange.start("GET " + kFiles + "?path=/f");
        REQUIRE_FALSE(exchange.ok());
        CHECK(exchange.promised == 10);
        CHECK(exchange.streamed == "0123");
        CHECK_FALSE(exchange.finished);
    }
    SECTION("grows") {
        bench.files.shrunk = "0123456789abcdef";
        exchange.start("GET " + kFiles + "?path=/f");
        REQUIRE(exchange.ok());
        CHECK(exchange.streamed == "0123456789");
    }
}

TEST_CASE("paths and users that cannot be meant are refused") {
    FilesBench bench;
    const std::vector<std::pair<std::string, std::string>> cases{
        {"GET " + kFiles, "path"},
        {"GET " + kFiles + "?path=", "path"},
        {"GET " + kFiles + "?path=" + std::string(4096, 'x'), "path"},
        {"PUT " + kFiles + "?path=/f&mode=0999", "mode"},
        {"PUT " + kFiles + "?path=/f&mode=77777", "mode"},
        {"GET " + kFiles + "/list?path=/&depth=0", "depth"},
        {"GET " + kFiles + "/list?path=/&limit=x", "limit"},
        {"GET " + kFiles + "/watch?path=/&recursive=perhaps", "recursive"},
    };
    for (const auto& [request, field] : cases) {
        CAPTURE(request);
        FakeExchange exchange{bench.io, bench.engine};
        exchange.start(request);
        REQUIRE_FALSE(exchange.ok());
        CHECK(exchange.error().is(Errc::invalid_argument));
        CHECK(exchange.bad_field() == field);
    }
    FakeExchange missing{bench.io, bench.engine};
    missing.start("GET " + kFiles + "?path=/nothing");
    CHECK(missing.error().is(Errc::not_found));
}

TEST_CASE("an upload of many pieces becomes a file when it is complete") {
    FilesBench bench;
    FakeExchange exchange{bench.io, bench.engine};
    exchange.start("PUT " + kFiles + "?path=/new&mode=755", "first ");
    exchange.push_piece(std::string(600'000, 'x'));
    CHECK_FALSE(bench.files.files.contains("/new"));
    exchange.push_piece(std::string{});
    REQUIRE(exchange.ok());
    CHECK(exchange.answer->status == 201);
    CHECK(bench.files.files.at("/new").content == "first " + std::string(600'000, 'x'));
    CHECK(exchange.json()["path"] == "/new");
    CHECK(exchange.json()["name"] == "new");
    CHECK(exchange.json()["size"] == 600'006);
    CHECK(exchange.json()["mode"] == "0755");
    CHECK(exchange.json()["type"] == "file");
    CHECK(exchange.json()["modified_at"] == "1994-11-15T08:12:31.000Z");
    FakeExchange again{bench.io, bench.engine};
    again.start("PUT " + kFiles + "?path=/new", "second");
    again.push_piece(std::string{});
    REQUIRE(again.ok());
    CHECK(again.answer->status == 200);
    CHECK(bench.files.files.at("/new").content == "second");
}

TEST_CASE("an upload that breaks off or does not fit leaves the old file") {
    FilesBench bench;
    bench.files.put("/f", "old");
    FakeExchange exchange{bench.io, bench.engine};
    exchange.start("PUT " + kFiles + "?path=/f", "new and ");
    CHECK(bench.files.writers == 1);
    SECTION("breaks off") {
        exchange.push_piece(std::nullopt);
        REQUIRE(exchange.done());
        CHECK_FALSE(exchange.ok());
    }
    SECTION("does not fit") {
        bench.files.quota = 10;
        exchange.push_piece(std::string{"longer"});
        REQUIRE(exchange.done());
        CHECK(exchange.error().is(Errc::disk_full));
    }
    CHECK(bench.files.writers == 0);
    CHECK(bench.files.discarded == 1);
    CHECK(bench.files.files.at("/f").content == "old");
}

TEST_CASE("folders are listed up to a limit, with what each entry is") {
    FilesBench bench;
    bench.files.put("/d/a", "1");
    FakeFile& link = bench.files.put("/d/b", "");
    link.info.kind = engine::FileKind::symlink;
    link.info.target = "/d/a";
    link.info.mode = 0777;
    bench.files.put("/d/c\xFF", "3");
    FakeExchange exchange{bench.io, bench.engine};
    exchange.start("GET " + kFiles + "/list?path=/d&depth=2");
    REQUIRE(exchange.ok());
    const auto entries = exchange.json()["entries"];
    REQUIRE(entries.size() == 3);
    CHECK(entries[0]["mode"] == "0644");
    CHECK(entries[0]["uid"] == 1000);
    CHECK_FALSE(entries[0].contains("target"));
    CHECK(entries[1]["type"] == "symlink");
    CHECK(entries[1]["target"] == "/d/a");
    CHECK(entries[2]["name"] == "c\xEF\xBF\xBD");
    CHECK(exchange.json()["truncated"] == false);
    CHECK(bench.files.last_depth == 2);
    FakeExchange cut{bench.io, bench.engine};
    cut.start("GET " + kFiles + "/list?path=/d&limit=1");
    CHECK(cut.json()["entries"].size() == 1);
    CHECK(cut.json()["truncated"] == true);
}

TEST_CASE("files are looked at, made, moved and deleted") {
    FilesBench bench;
    FakeExchange made{bench.io, bench.engine};
    made.start("POST " + kFiles + "/mkdir", R"({"path":"/d/e","mode":"0700","user":"root"})");
    REQUIRE(made.ok());
    CHECK(made.answer->status == 201);
    CHECK(made.json()["type"] == "directory");
    CHECK(made.json()["mode"] == "0700");
    CHECK(bench.files.last_user.uid == 0);
    FakeExchange moved{bench.io, bench.engine};
    moved.start("POST " + kFiles + "/move", R"({"from":"/d/e","to":"/f"})");
    REQUIRE(moved.ok());
    CHECK(moved.json()["path"] == "/f");
    FakeExchange stat{bench.io, bench.engine};
    stat.start("GET " + kFiles + "/stat?path=/f");
    CHECK(stat.json()["type"] == "directory");
    FakeExchange removed{bench.io, bench.engine};
    removed.start("DELETE " + kFiles + "?path=/f");
    REQUIRE(removed.ok());
    CHECK(removed.answer->status == 204);
    CHECK(removed.answer->body.empty());
    FakeExchange again{bench.io, bench.engine};
    again.start("DELETE " + kFiles + "?path=/f");
    CHECK(again.error().is(Errc::not_found));
    FakeExchange bad{bench.io, bench.engine};
    bad.start("POST " + kFiles + "/move", R"({"from":"/a","to":""})");
    CHECK(bad.bad_field() == "to");
}

TEST_CASE("changes in a watched folder are events until the client leaves") {
    FilesBench bench;
    FakeExchange exchange{bench.io, bench.engine};
    exchange.start("GET " + kFiles + "/watch?path=/d&recursive=true");
    REQUIRE(exchange.upgraded);
    CHECK(bench.files.last_recursive);
    CHECK(exchange.wire->types() == std::vector<std::string>{"ready"});
    bench.files.happen(engine::FileEventKind::create, "x");
    bench.files.happen(engine::FileEventKind::write, "x");
    exchange.step();
    CHECK(exchange.wire->events.back() == nlohmann::json{{"type", "write"}, {"path", "x"}});
    CHECK(exchange.wire->events.size() == 3);
    exchange.wire->say(std::string{"anything"});
    exchange.step();
    CHECK_FALSE(exchange.done());
    exchange.wire->leave();
    exchange.step();
    REQUIRE(exchange.done());
    CHECK(bench.files.watches == 0);
}

TEST_CASE("a watch that breaks says so and closes, one that cannot begin is refused before the upgrade") {
    FilesBench bench;
    FakeExchange exchange{bench.io, bench.engine};
    exchange.start("GET " + kFiles + "/watch?path=/d");
    bench.files.watch_broken = true;
    bench.files.happen(engine::FileEventKind::remove, "d");
    exchange.step();
    REQUIRE(exchange.done());
    CHECK(exchange.wire->types() == std::vector<std::string>{"ready", "remove", "error"});
    CHECK(exchange.wire->close_code == 1008);
    FakeExchange missing{bench.io, bench.engine};
    missing.start("GET " + kFiles + "/watch?path=/missing");
    CHECK(missing.error().is(Errc::not_found));
    CHECK_FALSE(missing.upgraded);
}

}  // namespace sandboxd::api::testing
