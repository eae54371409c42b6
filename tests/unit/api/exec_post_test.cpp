#include <csignal>

#include <catch2/catch.hpp>

#include "tests/unit/api/exec_bench.hpp"

// POST …/exec and what looks at execs afterwards.
namespace sandboxd::api::testing {

namespace {

using engine::ExecStatus;
using engine::SignalScope;

}  // namespace

TEST_CASE("a program's output, end and figures are the answer") {
    Bench bench;
    bench.sandbox->on_exec = [](FakeExec& exec) {
        exec.figures.counters.cpu_ns = 7'000'000;
        exec.output.append("hello\n");
        exec.errors.append("careful\n");
        exec.exit();
    };
    FakeExchange exchange{bench.io, bench.engine};
    exchange.start("POST " + kExecPath, R"({"argv":["echo","hello"],"env":{"A":"b"},"cwd":"/tmp"})");
    REQUIRE(exchange.ok());
    const auto answer = exchange.json();
    CHECK(exchange.answer->status == 200);
    CHECK(answer["stdout"] == "hello\n");
    CHECK(answer["stderr"] == "careful\n");
    CHECK(answer["exit_code"] == 0);
    CHECK(answer["status"] == "exited");
    CHECK(answer["sandbox_id"] == "box00001");
    CHECK(answer["exec_id"] == bench.exec().id().str());
    CHECK(answer["stdout_bytes"] == 6);
    CHECK(answer["stderr_bytes"] == 8);
    CHECK(answer["stdout_truncated"] == false);
    CHECK(answer["results"] == nlohmann::json::array());
    CHECK(answer["denials"] == nlohmann::json::array());
    CHECK(answer["usage"]["cpu_ms"] == 7);
    CHECK_FALSE(answer.contains("error"));
    CHECK(bench.exec().request.argv == std::vector<std::string>{"echo", "hello"});
    CHECK(bench.exec().request.cwd == "/tmp");
    CHECK(bench.exec().request.timeout_ms == 60'000);
    CHECK(bench.exec().request.stdin_mode == engine::StdinMode::closed);
    CHECK(bench.exec().request.env.at(0) == std::pair<std::string, std::string>{"A", "b"});
}

TEST_CASE("what a program was refused is in its answer, with the rule and what allows it") {
    Bench bench;
    bench.sandbox->on_exec = [](FakeExec& exec) {
        exec.refused.list = {{"syscall", "ptrace(PTRACE_ATTACH)", "seccomp:default", "create the sandbox with profile \"debug\"", 3}};
        exec.refused.others = 5;
        exec.exit();
    };
    FakeExchange exchange{bench.io, bench.engine};
    exchange.start("POST " + kExecPath, R"({"argv":["gdb"]})");
    REQUIRE(exchange.ok());
    const nlohmann::json answer = exchange.json();
    REQUIRE(answer["denials"].size() == 1);
    CHECK(answer["denials"][0] == nlohmann::json{{"kind", "syscall"}, {"what", "ptrace(PTRACE_ATTACH)"}, {"rule", "seccomp:default"},
                                                 {"hint", "create the sandbox with profile \"debug\""}, {"count", 3}});
    CHECK(answer["denials_unlisted"] == 5);
}

TEST_CASE("a shell line runs under bash, as the user asked for") {
    Bench bench;
    bench.sandbox->on_exec = [](FakeExec& exec) { exec.exit(); };
    FakeExchange exchange{bench.io, bench.engine};
    exchange.start("POST " + kExecPath, R"({"shell":"ls | wc","user":"root","timeout_ms":5,"output_mb":3,"on_output_limit":"block"})");
    REQUIRE(exchange.ok());
    const engine::ExecRequest& request = bench.exec().request;
    CHECK(request.argv == std::vector<std::string>{"bash", "-c", "ls | wc"});
    CHECK(request.user.uid == 0);
    CHECK(request.timeout_ms == 5);
    CHECK(request.output_bytes == std::uint64_t{3} << 20);
    CHECK(request.on_output_limit == engine::OverLimit::block);
}

TEST_CASE("how a program failed is said with its cure") {
    struct Case {
        ExecStatus status;
        int code;
        int signal;
        std::string name;
        std::string part;
    };
    const auto one = GENERATE(Case{ExecStatus::exited, 3, 0, "ExitCode", "exited with code 3"},
                              Case{ExecStatus::signaled, 139, SIGSEGV, "Signal", "signal 11"},
                              Case{ExecStatus::timed_out, 137, SIGKILL, "Timeout", "timed out after 1500 ms: raise timeout_ms"},
                              Case{ExecStatus::oom_killed, 137, SIGKILL, "OutOfMemory", "limit 512 MiB, raise limits.memory_mb"},
                              Case{ExecStatus::lost, 0, 0, "Lost", "run it again"});
    Bench bench;
    bench.sandbox->on_exec = [&](FakeExec& exec) { exec.end(one.status, one.code, one.signal); };
    FakeExchange exchange{bench.io, bench.engine};
    exchange.start("POST " + kExecPath, R"({"argv":["x"],"timeout_ms":1500})");
    REQUIRE(exchange.ok());
    const auto answer = exchange.json();
    CHECK(exchange.answer->status == 200);
    CHECK(answer["status"] == std::string{engine::to_string(one.status)});
    CHECK(answer["exit_code"] == one.code);
    CHECK(answer["error"]["name"] == one.name);
    CHECK_THAT(answer["error"]["message"].get<std::string>(), Catch::Contains(one.part));
    CHECK(answer.contains("signal") == (one.signal != 0));
}

TEST_CASE("a request that cannot be meant is refused and names the field") {
    const std::vector<std::pair<std::string, std::string>> cases{
        {R"({})", "argv"},
        {R"({"argv":["a"],"shell":"b"})", "argv"},
        {R"({"argv":[]})", "argv"},
        {R"({"argv":["a\u0000b"]})", "argv[0]"},
        {R"({"argv":["a"],"env":{"":"x"}})", "env."},
        {R"({"argv":["a"],"env":{"A=B":"x"}})", "env"},
        {R"({"argv":["a"],"stdin":{"base64":"!"}})", "stdin.base64"},
        {R"({"argv":["a"],"stdin":7})", "stdin"},
        {R"({"argv":["a"],"cwd":"/\u0000"})", "cwd"},
        {R"({"argv":["a"],"encoding":"binary"})", "encoding"},
        {R"({"argv":["a"],"bogus":1})", "bogus"},
    };
    for (const auto& [body, field] : cases) {
        CAPTURE(body);
        Bench bench;
        FakeExchange exchange{bench.io, bench.engine};
        exchange.start("POST " + kExecPath, body);
        REQUIRE_FALSE(exchange.ok());
        CHECK(exchange.error().errc() == Errc::invalid_argument);
        CHECK(exchange.bad_field() == field);
        CHECK(bench.sandbox->started.empty());
    }
}

TEST_CASE("more than the tenant's ceiling or the sandbox's limit is refused with what was asked and what is allowed") {
    Bench bench;
    bench.engine.limits.max_exec_ms = 10'000;
    bench.sandbox->facts.limits.output_bytes = 8 << 20;
    const std::string body = GENERATE(R"({"argv":["a"],"timeout_ms":10001})", R"({"argv":["a"],"output_mb":9})");
    FakeExchange exchange{bench.io, bench.engine};
    exchange.start("POST " + kExecPath, body);
    REQUIRE_FALSE(exchange.ok());
    CHECK(exchange.error().errc() == Errc::limit_exceeded);
    CHECK(exchange.error().facts().size() == 3);
}

TEST_CASE("the default time limit gives way to a lower ceiling") {
    Bench bench;
    bench.engine.limits.max_exec_ms = 10'000;
    bench.sandbox->on_exec = [](FakeExec& exec) { exec.exit(); };
    FakeExchange exchange{bench.io, bench.engine};
    exchange.start("POST " + kExecPath, R"({"argv":["a"]})");
    REQUIRE(exchange.ok());
    CHECK(bench.exec().request.timeout_ms == 10'000);
}

TEST_CASE("stdin is written and closed behind, also when it is not text") {
    Bench bench;
    bench.sandbox->on_exec = [](FakeExec& exec) {
        exec.on_input = [](FakeExec& self) {
            if (!self.input_closed) return;
            self.output.append(self.input);
            self.exit();
        };
    };
    FakeExchange exchange{bench.io, bench.engine};
    exchange.start("POST " + kExecPath, R"({"argv":["cat"],"stdin":{"base64":"AP8K"},"encoding":"base64"})");
    REQUIRE(exchange.ok());
    CHECK(bench.exec().request.stdin_mode == engine::StdinMode::pipe);
    CHECK(bench.exec().input == std::string("\0\xff\n", 3));
    CHECK(exchange.json()["stdout"] == "AP8K");
    CHECK(exchange.json()["encoding"] == "base64");
}

TEST_CASE("a program that ends without reading its stdin has not failed") {
    Bench bench;
    bench.sandbox->on_exec = [](FakeExec& exec) { exec.stdin_full = true; };
    FakeExchange exchange{bench.io, bench.engine};
    exchange.start("POST " + kExecPath, R"({"argv":["true"],"stdin":"much"})");
    CHECK_FALSE(exchange.done());
    bench.exec().exit();
    exchange.step();
    REQUIRE(exchange.ok());
    CHECK(exchange.json()["status"] == "exited");
}

TEST_CASE("stdin that cannot be written is an error at once, not a program that waits for it") {
    const std::string accept = GENERATE("", "application/x-ndjson");
    Bench bench;
    bench.sandbox->on_exec = [](FakeExec& exec) { exec.stdin_error = Error{Errc::internal, "write", "not permitted"}; };
    FakeExchange exchange{bench.io, bench.engine};
    if (!accept.empty()) exchange.headers["Accept"] = accept;
    exchange.start("POST " + kExecPath, R"({"argv":["cat"],"stdin":"x"})");
    REQUIRE_FALSE(exchange.ok());
    CHECK(exchange.error().is(Errc::internal));
    CHECK(bench.exec().signals == std::vector<std::pair<int, SignalScope>>{{SIGKILL, SignalScope::tree}});
}

TEST_CASE("an answer does not wait for a background child that holds the output open") {
    Bench bench;
    FakeExchange exchange{bench.io, bench.engine};
    exchange.start("POST " + kExecPath, R"({"argv":["a"]})");
    bench.exec().output.append("before\n");
    exchange.step();
    CHECK_FALSE(exchange.done());
    bench.exec().end(ExecStatus::exited);
    exchange.step();
    REQUIRE(exchange.ok());
    CHECK(exchange.json()["stdout"] == "before\n");
}

TEST_CASE("what is not UTF-8 becomes a replacement character, whole characters stay") {
    Bench bench;
    bench.sandbox->on_exec = [](FakeExec& exec) {
        exec.output.piece = 1;
        exec.output.append("gr\xC3\xBC\xC3\x9F \xFF \xE2\x82");
        exec.exit();
    };
    FakeExchange exchange{bench.io, bench.engine};
    exchange.start("POST " + kExecPath, R"({"argv":["a"]})");
    REQUIRE(exchange.ok());
    CHECK(exchange.json()["stdout"] == "gr\xC3\xBC\xC3\x9F \xEF\xBF\xBD \xEF\xBF\xBD");
    CHECK(exchange.json()["stdout_bytes"] == 11);
}

TEST_CASE("an answer inlines 8 MiB of a stream and says where the rest is") {
    constexpr std::size_t kMax = std::size_t{8} << 20;
    Bench bench;
    bench.sandbox->on_exec = [](FakeExec& exec) {
        // The cut falls into a character, which is then left out as a whole.
        exec.output.append(std::string(kMax - 1, 'x') + "\xC3\xBC and more");
        exec.errors.append("few");
        exec.errors.lost = 5;
        exec.exit();
    };
    FakeExchange exchange{bench.io, bench.engine};
    exchange.start("POST " + kExecPath, R"({"argv":["a"]})");
    REQUIRE(exchange.ok());
    const auto answer = exchange.json();
    REQUIRE(answer["stdout"].get_ref<const std::string&>().size() == kMax - 1);
    CHECK(answer["stdout_truncated"] == true);
    CHECK(answer["stdout_bytes"] == kMax + 10);
    CHECK(answer["stdout_path"] == kExecPath + "/" + bench.exec().id().str() + "/output?stream=stdout");
    CHECK(answer["stderr"] == "few");
    CHECK(answer["stderr_truncated"] == true);
    CHECK(answer["stderr_bytes"] == 8);
    CHECK(answer["stderr_dropped"] == 5);
    CHECK_FALSE(answer.contains("stderr_path"));
}

TEST_CASE("output that blocks the program is taken while it runs") {
    Bench bench;
    FakeExchange exchange{bench.io, bench.engine};
    exchange.start("POST " + kExecPath, R"({"argv":["a"],"on_output_limit":"block"})");
    bench.exec().output.append("12345");
    exchange.step();
    CHECK(bench.exec().output.consumed_to == 5);
    bench.exec().exit();
    exchange.step();
    CHECK(exchange.json()["stdout"] == "12345");
}

TEST_CASE("a client that leaves has its program killed with all its processes") {
    Bench bench;
    FakeExchange exchange{bench.io, bench.engine};
    const std::string accept = GENERATE("", "application/x-ndjson");
    if (!accept.empty()) exchange.headers["Accept"] = accept;
    exchange.start("POST " + kExecPath, R"({"argv":["sleep","60"]})");
    CHECK_FALSE(exchange.done());
    exchange.client_leaves();
    REQUIRE_FALSE(exchange.ok());
    CHECK(exchange.error().errc() == Errc::canceled);
    REQUIRE(bench.exec().signals.size() == 1);
    CHECK(bench.exec().signals[0] == std::pair{SIGKILL, SignalScope::tree});
}

TEST_CASE("a program whose output cannot be read is killed, since its answer names no exec") {
    Bench bench;
    FakeExchange exchange{bench.io, bench.engine};
    exchange.start("POST " + kExecPath, R"({"argv":["a"],"on_output_limit":"block"})");
    CHECK_FALSE(exchange.done());
    bench.exec().output.read_fails = true;
    bench.exec().output.append("x");
    exchange.step();
    // Without waiting for the program, which waits for a reader.
    REQUIRE(exchange.done());
    CHECK(exchange.error().is(Errc::internal));
    CHECK(bench.exec().signals == std::vector<std::pair<int, SignalScope>>{{SIGKILL, SignalScope::tree}});
}

TEST_CASE("a client that takes none of our formats is refused before its program starts") {
    Bench bench;
    FakeExchange exchange{bench.io, bench.engine};
    exchange.headers["Accept"] = "text/html";
    exchange.start("POST " + kExecPath, R"({"argv":["a"]})");
    REQUIRE_FALSE(exchange.ok());
    CHECK(exchange.error().is(Errc::not_acceptable));
    CHECK(bench.sandbox->started.empty());
}

TEST_CASE("a detached program is answered at once and outlives its client") {
    Bench bench;
    FakeExchange exchange{bench.io, bench.engine};
    exchange.start("POST " + kExecPath, R"({"argv":["server"],"detach":true,"stdin":"config"})");
    REQUIRE(exchange.ok());
    CHECK(exchange.answer->status == 202);
    CHECK(exchange.json()["exec_id"] == bench.exec().id().str());
    CHECK(exchange.answer_header("Location") == kExecPath + "/" + bench.exec().id().str());
    CHECK(bench.exec().request.timeout_ms == 0);
    exchange.client_leaves();
    exchange.finish_tasks();
    CHECK(bench.exec().signals.empty());
    CHECK(bench.exec().input == "config");
    CHECK(bench.exec().input_closed);
}

TEST_CASE("a program that cannot be started is an error, not an answer") {
    Bench bench;
    bench.sandbox->start_error = Error{Errc::command_not_found, "exec", "nope"};
    FakeExchange exchange{bench.io, bench.engine};
    exchange.headers["Accept"] = "text/event-stream";
    exchange.start("POST " + kExecPath, R"({"argv":["nope"]})");
    REQUIRE_FALSE(exchange.ok());
    CHECK(exchange.error().errc() == Errc::command_not_found);
    CHECK_FALSE(exchange.begun());
}

TEST_CASE("execs are listed oldest first, page by page") {
    Bench bench;
    bench.sandbox->on_exec = [](FakeExec& exec) { exec.exit(); };
    for (int i = 0; i < 3; ++i) {
        FakeExchange exchange{bench.io, bench.engine};
        exchange.start("POST " + kExecPath, R"({"argv":["program)" + std::to_string(i) + R"("]})");
    }
    FakeExchange first{bench.io, bench.engine};
    first.start("GET " + kExecPath + "?limit=2");
    REQUIRE(first.ok());
    REQUIRE(first.json()["execs"].size() == 2);
    CHECK(first.json()["execs"][0]["command"] == "program0");
    CHECK(first.json()["execs"][0]["started_at"] == "1970-01-01T00:00:01.000Z");
    CHECK_FALSE(first.json()["execs"][0].contains("stdout"));
    FakeExchange second{bench.io, bench.engine};
    second.start("GET " + kExecPath + "?limit=2&cursor=" + first.json()["next_cursor"].get<std::string>());
    REQUIRE(second.json()["execs"].size() == 1);
    CHECK(second.json()["execs"][0]["command"] == "program2");
    CHECK_FALSE(second.json().contains("next_cursor"));
    FakeExchange bad{bench.io, bench.engine};
    bad.start("GET " + kExecPath + "?cursor=!!");
    CHECK(bad.bad_field() == "cursor");
}

TEST_CASE("a running program can be looked at, one that is not there is not found") {
    Bench bench;
    FakeExchange waiting{bench.io, bench.engine};
    waiting.start("POST " + kExecPath, R"({"argv":["a"]})");
    bench.exec().output.append("so far");
    const std::string path = kExecPath + "/" + bench.exec().id().str();
    FakeExchange exchange{bench.io, bench.engine};
    exchange.start("GET " + path);
    REQUIRE(exchange.ok());
    CHECK(exchange.json()["status"] == "running");
    CHECK(exchange.json()["exit_code"].is_null());
    CHECK(exchange.json()["ended_at"].is_null());
    CHECK(exchange.json()["stdout"] == "so far");
    CHECK(exchange.json()["cwd"] == "/home/user");
    bench.exec().exit();
    waiting.step();
    FakeExchange other{bench.io, bench.engine};
    other.start("GET " + kExecPath + "/" + exec_id_from_number(77).str());
    CHECK(other.error().errc() == Errc::not_found);
    FakeExchange malformed{bench.io, bench.engine};
    malformed.start("GET " + kExecPath + "/what");
    CHECK(malformed.error().errc() == Errc::not_found);
}

namespace {

struct Running {  // a detached program
    Bench bench;
    std::string path;
    Running() {
        FakeExchange exchange{bench.io, bench.engine};
        exchange.start("POST " + kExecPath, R"({"argv":["a"],"detach":true})");
        exchange.finish_tasks();
        path = kExecPath + "/" + bench.exec().id().str();
    }
};

}  // namespace

TEST_CASE("deleting an exec asks it to end and then kills what is left of its processes") {
    Running running;
    running.bench.exec().on_signal = [](FakeExec& exec, int signal) {
        if (signal == SIGTERM) exec.end(ExecStatus::signaled, 143, SIGTERM);
    };
    FakeExchange exchange{running.bench.io, running.bench.engine};
    exchange.start("DELETE " + running.path);
    REQUIRE(exchange.ok());
    CHECK(exchange.json()["status"] == "signaled");
    CHECK(exchange.json()["signal"] == SIGTERM);
    const std::vector<std::pair<int, SignalScope>> expected{{SIGTERM, SignalScope::tree}, {SIGKILL, SignalScope::tree}};
    CHECK(running.bench.exec().signals == expected);
    FakeExchange again{running.bench.io, running.bench.engine};
    again.start("DELETE " + running.path);
    CHECK(again.json()["status"] == "signaled");
    // What it left in the background goes too.
    REQUIRE(running.bench.exec().signals.size() == 3);
    CHECK(running.bench.exec().signals.back() == std::pair{SIGKILL, SignalScope::tree});
}

TEST_CASE("what an ended program left in the background can be signalled, and it is no error when nothing is left") {
    Running running;
    running.bench.exec().exit(3);
    running.bench.exec().signal_error = GENERATE(std::optional<Error>{}, std::optional<Error>{Error{Errc::conflict, "exec", "has ended"}});
    FakeExchange exchange{running.bench.io, running.bench.engine};
    exchange.start("DELETE " + running.path + "?signal=KILL");
    REQUIRE(exchange.ok());
    CHECK(exchange.json()["status"] == "exited");
    CHECK(running.bench.exec().signals == std::vector<std::pair<int, SignalScope>>{{SIGKILL, SignalScope::tree}});
}

TEST_CASE("a running program that cannot be signalled is an error") {
    Running running;
    running.bench.exec().signal_error = Error{Errc::unavailable, "agent", "does not answer"};
    const std::string query = GENERATE("", "?signal=TERM");
    FakeExchange exchange{running.bench.io, running.bench.engine};
    exchange.start("DELETE " + running.path + query);
    REQUIRE_FALSE(exchange.ok());
    CHECK(exchange.error().is(Errc::unavailable));
    running.bench.exec().exit();
}

TEST_CASE("a given signal goes to the scope asked for, and nothing else happens") {
    Running running;
    FakeExchange exchange{running.bench.io, running.bench.engine};
    exchange.start("DELETE " + running.path + "?signal=SIGINT&scope=group");
    REQUIRE(exchange.ok());
    CHECK(exchange.json()["status"] == "running");
    CHECK(running.bench.exec().signals == std::vector<std::pair<int, SignalScope>>{{SIGINT, SignalScope::group}});
    FakeExchange bad{running.bench.io, running.bench.engine};
    bad.start("DELETE " + running.path + "?signal=BOGUS");
    CHECK(bad.bad_field() == "signal");
    FakeExchange scope{running.bench.io, running.bench.engine};
    scope.start("DELETE " + running.path + "?signal=9&scope=world");
    CHECK(scope.bad_field() == "scope");
    running.bench.exec().exit();
}

TEST_CASE("raw output is read from any offset, with its length") {
    Running running;
    FakeExec& exec = running.bench.exec();
    exec.output.append(std::string("ab\0cdef", 7));
    FakeExchange exchange{running.bench.io, running.bench.engine};
    exchange.start("GET " + running.path + "/output?offset=2");
    REQUIRE(exchange.ok());
    CHECK(exchange.streamed == std::string("\0cdef", 5));
    CHECK(exchange.promised == 5);
    CHECK(exchange.finished);
    CHECK(exchange.head->content_type == "application/octet-stream");
    CHECK(exchange.answer_header("X-Output-Offset") == "2");
    CHECK(exchange.answer_header("X-Output-Size") == "7");
    CHECK(exchange.answer_header("X-Output-Ended") == "false");
    CHECK(exec.output.consumed_to == 2);
    FakeExchange beyond{running.bench.io, running.bench.engine};
    beyond.start("GET " + running.path + "/output?offset=8");
    CHECK(beyond.error().errc() == Errc::range_not_satisfiable);
    FakeExchange bad{running.bench.io, running.bench.engine};
    bad.start("GET " + running.path + "/output?stream=stdin");
    CHECK(bad.bad_field() == "stream");
    FakeExchange head{running.bench.io, running.bench.engine};
    head.start("HEAD " + running.path + "/output");
    CHECK(head.promised == 7);
    CHECK(head.streamed.empty());
    exec.exit();
}

TEST_CASE("following output goes on until the program has ended") {
    Running running;
    FakeExec& exec = running.bench.exec();
    exec.errors.append("one ");
    FakeExchange exchange{running.bench.io, running.bench.engine};
    exchange.start("GET " + running.path + "/output?stream=stderr&follow=true");
    CHECK(exchange.streamed == "one ");
    CHECK_FALSE(exchange.promised);
    exec.errors.append("two");
    exchange.step();
    CHECK(exchange.streamed == "one two");
    CHECK(exec.errors.consumed_to == 7);
    CHECK_FALSE(exchange.done());
    exec.end(ExecStatus::exited);  // its stderr stays open
    exchange.step();
    REQUIRE(exchange.ok());
    CHECK(exchange.finished);
}

TEST_CASE("a follower that leaves or cannot be written to changes nothing for the program") {
    Running running;
    FakeExchange exchange{running.bench.io, running.bench.engine};
    exchange.start("GET " + running.path + "/output?follow=true");
    SECTION("leaves") { exchange.client_leaves(); }
    SECTION("is too slow") {
        exchange.write_fails = true;
        running.bench.exec().output.append("x");
        exchange.step();
    }
    REQUIRE_FALSE(exchange.ok());
    CHECK_FALSE(exchange.finished);
    CHECK(running.bench.exec().signals.empty());
    running.bench.exec().exit();
}

}  // namespace sandboxd::api::testing
