#include <csignal>

#include <catch2/catch.hpp>

#include "tests/unit/api/exec_bench.hpp"

// POST /v1/run: a sandbox for one program.
namespace sandboxd::api::testing {

namespace {

const engine::FileToWrite& file(const FakeExec& exec, const std::string& path) {
    for (const engine::FileToWrite& one : exec.request.files) {
        if (one.path == path) return one;
    }
    throw std::runtime_error{"no file " + path};
}

// What the program does; the sandbox is kept so that it can be looked at when the engine has forgotten it.
struct RunBench : Bench {
    std::shared_ptr<FakeSandbox> made;
    void program(std::function<void(FakeExec&)> does) {
        engine.on_create = [this, does = std::move(does)](FakeSandbox& created) {
            created.on_exec = does;
            created.figures.counters.wall_ns = 42'000'000;
            for (const auto& one : engine.living) {
                if (one.get() == &created) made = one;
            }
        };
    }
};

void prints_and_exits(FakeExec& exec) {
    exec.output.append("1\n");
    exec.exit();
}

}  // namespace

TEST_CASE("code runs in a sandbox of its own, which is destroyed behind the answer") {
    RunBench bench;
    bench.program(prints_and_exits);
    FakeExchange exchange{bench.io, bench.engine};
    exchange.start("POST /v1/run", R"-({"language":"python","code":"print(1)"})-");
    REQUIRE(exchange.ok());
    const auto answer = exchange.json();
    CHECK(answer["stdout"] == "1\n");
    CHECK(answer["exit_code"] == 0);
    CHECK(answer["usage"]["wall_ms"] == 42);
    CHECK(answer["sandbox_id"] == bench.made->record().id.str());
    CHECK(bench.made->started.at(0)->request.argv == std::vector<std::string>{"python3", "-u", "main.py"});
    CHECK(file(*bench.made->started[0], "main.py").content == "print(1)");
    REQUIRE(bench.engine.created.size() == 1);
    CHECK(bench.engine.created[0].template_name == "host");
    CHECK(bench.engine.created[0].network == "none");
    // An API process that dies leaves the sandbox to its time to live.
    CHECK(bench.engine.created[0].timeout_s <= 60);
    exchange.finish_tasks();
    CHECK(bench.engine.destroyed == std::vector<std::string>{bench.made->record().id.str()});
}

TEST_CASE("files, environment, stdin, limits and template of a run arrive") {
    RunBench bench;
    bench.program(prints_and_exits);
    FakeExchange exchange{bench.io, bench.engine};
    exchange.start("POST /v1/run", R"({"language":"bash","code":"cat","template":"python","timeout_ms":9,
        "files":{"data.csv":"a,b","img.png":{"base64":"AAE="},"main.sh":"mine"},
        "env":{"K":"v"},"stdin":"in","limits":{"memory_mb":64},"network":"none"})");
    REQUIRE(exchange.ok());
    const FakeExec& exec = *bench.made->started.at(0);
    // The caller's main.sh keeps its name.
    CHECK(exec.request.argv == std::vector<std::string>{"bash", "_main.sh"});
    CHECK(file(exec, "_main.sh").content == "cat");
    CHECK(file(exec, "main.sh").content == "mine");
    CHECK(file(exec, "data.csv").content == "a,b");
    CHECK(file(exec, "img.png").content == std::string("\0\1", 2));
    CHECK(exec.request.env.at(0).first == "K");
    CHECK(exec.request.timeout_ms == 9);
    CHECK(exec.input == "in");
    CHECK(bench.engine.created.at(0).template_name == "python");
    CHECK(bench.engine.created.at(0).limits.memory_bytes == std::uint64_t{64} << 20);
    exchange.finish_tasks();
}

TEST_CASE("the code's file gives way to any spelling of an uploaded one") {
    const std::string uploaded = GENERATE("./main.py", "sub/../main.py", "main.py/x.py", "/home/user/main.py", "/tmp/../home/user//main.py", "../user/main.py");
    RunBench bench;
    bench.program(prints_and_exits);
    FakeExchange exchange{bench.io, bench.engine};
    exchange.start("POST /v1/run", R"({"language":"python","code":"","files":{")" + uploaded + R"(":"","_main.py":""}})");
    REQUIRE(exchange.ok());
    CHECK(bench.made->started.at(0)->request.argv.back() == "__main.py");
    exchange.finish_tasks();
}

TEST_CASE("a run that cannot be meant makes no sandbox") {
    const std::vector<std::tuple<std::string, Errc, std::string>> cases{
        {R"({"language":"cobol","code":""})", Errc::invalid_argument, "language"},
        {R"({"language":"python"})", Errc::invalid_argument, "code"},
        {R"({"language":"sql","code":"select 1"})", Errc::incompatible, "language"},
        {R"({"language":"bash","code":"","files":{"":"x"}})", Errc::invalid_argument, "files."},
        {R"({"language":"bash","code":"","files":{"a/":"x"}})", Errc::invalid_argument, "files.a/"},
        {R"({"language":"bash","code":"","files":{"a":{"base64":"?"}}})", Errc::invalid_argument, "files.a.base64"},
        {R"({"language":"bash","code":"","argv":["a"]})", Errc::invalid_argument, "argv"},
    };
    for (const auto& [body, code, field] : cases) {
        CAPTURE(body);
        Bench bench;
        FakeExchange exchange{bench.io, bench.engine};
        exchange.start("POST /v1/run", body);
        REQUIRE_FALSE(exchange.ok());
        CHECK(exchange.error().errc() == code);
        CHECK(exchange.bad_field() == field);
        CHECK(bench.engine.created.empty());
    }
}

TEST_CASE("defaults of a run give way to lower ceilings, what it asks for does not") {
    RunBench bench;
    bench.program(prints_and_exits);
    bench.engine.limits.per_sandbox.memory_bytes = std::uint64_t{100} << 20;
    bench.engine.limits.max_timeout_s = 7;
    FakeExchange exchange{bench.io, bench.engine};
    exchange.start("POST /v1/run", R"({"language":"python","code":"1"})");
    REQUIRE(exchange.ok());
    CHECK(bench.engine.created.at(0).limits.memory_bytes == std::uint64_t{100} << 20);
    CHECK(bench.engine.created.at(0).timeout_s == 7);
    exchange.finish_tasks();
    FakeExchange more{bench.io, bench.engine};
    more.start("POST /v1/run", R"({"language":"python","code":"1","limits":{"memory_mb":101}})");
    REQUIRE_FALSE(more.ok());
    CHECK(more.error().is(Errc::limit_exceeded));
    CHECK(bench.engine.created.size() == 1);
}

TEST_CASE("a client that takes none of our formats gets no sandbox") {
    Bench bench;
    FakeExchange exchange{bench.io, bench.engine};
    exchange.headers["Accept"] = "image/png";
    exchange.start("POST /v1/run", R"({"language":"python","code":"1"})");
    REQUIRE_FALSE(exchange.ok());
    CHECK(exchange.error().is(Errc::not_acceptable));
    CHECK(bench.engine.created.empty());
}

TEST_CASE("a run whose handler is cancelled has its sandbox destroyed all the same") {
    RunBench bench;
    bench.program([](FakeExec&) {});
    FakeExchange exchange{bench.io, bench.engine};
    exchange.start("POST /v1/run", R"({"language":"bash","code":"sleep 60"})");
    CHECK_FALSE(exchange.done());
    exchange.cancel();
    CHECK(exchange.cancelled);
    exchange.finish_tasks();
    CHECK(bench.engine.destroyed.size() == 1);
}

TEST_CASE("a template without the language's interpreter says so") {
    RunBench bench;
    bench.engine.on_create = [](FakeSandbox& made) { made.start_error = Error{Errc::command_not_found, "exec", "node"}; };
    FakeExchange exchange{bench.io, bench.engine};
    exchange.start("POST /v1/run", R"({"language":"javascript","code":"1"})");
    REQUIRE_FALSE(exchange.ok());
    CHECK_THAT(exchange.error().message(), Catch::Contains("the template has no node"));
    exchange.finish_tasks();
    CHECK(bench.engine.destroyed.size() == 1);
}

TEST_CASE("however a run ends, its sandbox is destroyed once") {
    RunBench bench;
    bench.program([](FakeExec&) {});
    FakeExchange exchange{bench.io, bench.engine};
    const std::string accept = GENERATE("application/json", "text/event-stream");
    exchange.headers["Accept"] = accept;
    exchange.start("POST /v1/run", R"({"language":"bash","code":"sleep 60"})");
    CHECK_FALSE(exchange.done());
    SECTION("the client goes away") { exchange.client_leaves(); }
    SECTION("the time is up") {
        bench.made->started[0]->end(engine::ExecStatus::timed_out, 137, SIGKILL);
        exchange.step();
        CHECK(exchange.ok());
    }
    SECTION("its output cannot be read") {
        bench.made->started[0]->output.read_fails = true;
        bench.made->started[0]->output.append("x");
        bench.made->started[0]->exit();
        exchange.step();
        CHECK_FALSE(exchange.ok());
    }
    REQUIRE(exchange.done());
    exchange.finish_tasks();
    CHECK(bench.engine.destroyed.size() == 1);
}

TEST_CASE("a refused sandbox is the answer") {
    Bench bench;
    bench.engine.create_error = Error{Errc::node_full, "create", "no room"};
    FakeExchange exchange{bench.io, bench.engine};
    exchange.start("POST /v1/run", R"({"language":"bash","code":"true"})");
    REQUIRE_FALSE(exchange.ok());
    CHECK(exchange.error().is(Errc::node_full));
    CHECK(bench.engine.destroyed.empty());
}

TEST_CASE("a run can be followed line by line") {
    RunBench bench;
    bench.program([](FakeExec&) {});
    FakeExchange exchange{bench.io, bench.engine};
    exchange.headers["Accept"] = "application/x-ndjson";
    exchange.start("POST /v1/run", R"({"language":"python","code":"x"})");
    FakeExec& exec = *bench.made->started.at(0);
    CHECK(exchange.head->content_type == "application/x-ndjson");
    REQUIRE(exchange.lines().size() == 1);
    CHECK(exchange.lines()[0] == nlohmann::json{{"type", "start"}, {"sandbox_id", bench.made->record().id.str()},
                                                {"exec_id", exec.id().str()}});
    exec.output.append("gr\xC3");  // a character comes in two pieces
    exchange.step();
    CHECK(exchange.lines().back() == nlohmann::json{{"type", "stdout"}, {"offset", 0}, {"data", "gr"}});
    exec.output.append("\xBC\xC3\x9F");
    exec.errors.append("e");
    exchange.step();
    auto lines = exchange.lines();
    REQUIRE(lines.size() == 4);
    CHECK(std::count(lines.begin(), lines.end(), nlohmann::json{{"type", "stdout"}, {"offset", 2}, {"data", "\xC3\xBC\xC3\x9F"}}) == 1);
    CHECK(std::count(lines.begin(), lines.end(), nlohmann::json{{"type", "stderr"}, {"offset", 0}, {"data", "e"}}) == 1);
    exec.output.append("end\xE2\x82");  // the last character never comes
    exec.errors.lost = 9;
    exec.exit(1);
    exchange.step();
    REQUIRE(exchange.ok());
    CHECK(exchange.finished);
    lines = exchange.lines();
    const auto exit = lines.back();
    CHECK(exit["type"] == "exit");
    CHECK(exit["exit_code"] == 1);
    CHECK(exit["error"]["name"] == "ExitCode");
    CHECK(exit["usage"]["wall_ms"] == 42);
    CHECK(exit["stdout_bytes"] == 11);
    CHECK_FALSE(exit.contains("stdout"));
    CHECK(std::count(lines.begin(), lines.end(), nlohmann::json{{"type", "truncated"}, {"stream", "stderr"}, {"dropped", 9}}) == 1);
    std::string text;
    for (const auto& line : lines) {
        if (line["type"] == "stdout") text += line["data"].get<std::string>();
    }
    CHECK(text == "gr\xC3\xBC\xC3\x9F" "end\xEF\xBF\xBD");
    exchange.finish_tasks();
}

TEST_CASE("server-sent events carry the same objects") {
    RunBench bench;
    bench.program([](FakeExec& exec) {
        exec.output.append("a\nb");
        exec.exit();
    });
    FakeExchange exchange{bench.io, bench.engine};
    exchange.headers["Accept"] = "text/event-stream, application/json;q=0.5";
    exchange.start("POST /v1/run", R"({"language":"python","code":"x","encoding":"base64"})");
    REQUIRE(exchange.ok());
    CHECK(exchange.head->content_type == "text/event-stream");
    CHECK_THAT(exchange.streamed, Catch::StartsWith("event: start\ndata: {"));
    CHECK_THAT(exchange.streamed, Catch::Contains("event: stdout\ndata: {\"type\":\"stdout\",\"offset\":0,\"data\":\"YQpi\"}\n\n"));
    CHECK_THAT(exchange.streamed, Catch::Contains("event: exit\ndata: {"));
    CHECK_THAT(exchange.streamed, Catch::EndsWith("}\n\n"));
    exchange.finish_tasks();
}

TEST_CASE("a stream that breaks on our side ends with an error event and no proper end") {
    RunBench bench;
    bench.program([](FakeExec&) {});
    FakeExchange exchange{bench.io, bench.engine};
    exchange.headers["Accept"] = "application/x-ndjson";
    exchange.start("POST /v1/run", R"({"language":"python","code":"x"})");
    FakeExec& exec = *bench.made->started.at(0);
    exec.output.read_fails = true;
    exec.output.append("x");
    exec.errors.append("y");
    exec.exit();
    exchange.step();
    REQUIRE_FALSE(exchange.ok());
    CHECK_FALSE(exchange.finished);
    CHECK(exchange.lines().back()["type"] == "error");
    CHECK(exchange.lines().back()["error"]["code"] == "internal");
    // What was internal is for the log.
    CHECK_THAT(exchange.streamed, !Catch::Contains("spool"));
    exchange.finish_tasks();
}

}  // namespace sandboxd::api::testing
