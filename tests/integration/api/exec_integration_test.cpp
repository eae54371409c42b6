#include <csignal>

#include <catch2/catch.hpp>

#include "tests/integration/api/exec_host.hpp"

// Runs and programs: what a client gets when real code runs in real jails.
namespace sandboxd::api::testing {

using nlohmann::json;

namespace {

json run_body(const std::string& language, const std::string& code, json more = json::object()) {
    more["language"] = language;
    more["code"] = code;
    return more;
}

std::string text_of(const std::vector<json>& events, const std::string& type) {
    std::string out;
    for (const json& event : events) {
        if (event.at("type") == type) out += event.at("data").get<std::string>();
    }
    return out;
}

// A client at the exec WebSocket.
struct Client {
    Host& host;
    FakeExchange exchange;
    FakeSocket::Wire& wire = *exchange.wire;
    Client(Host& on, const std::string& box, const json& first) : host{on}, exchange{on.context, *on.engine} {
        exchange.start("GET " + box + "/exec/ws");
        wire.say(first);
    }
    ~Client() {
        wire.leave();
        host.finish(exchange);
    }
    bool has(const std::string& type) const {
        const auto types = wire.types();
        return std::find(types.begin(), types.end(), type) != types.end();
    }
    json last() const { return wire.events.back(); }
};

}  // namespace

TEST_CASE_METHOD(Host, "python and bash run once, with files, stdin and environment, and leave nothing") {
    const json files = {{"mod.py", "value = 41\n"}, {"sub/x.bin", {{"base64", "AP8="}}}};
    const auto python = ask("POST /v1/run", run_body("python",
                                                     "import mod, os, sys\n"
                                                     "print(mod.value + 1, open('sub/x.bin', 'rb').read(), os.environ['K'], sys.stdin.read())\n"
                                                     "print('w', file=sys.stderr)",
                                                     {{"files", files}, {"env", {{"K", "v"}}}, {"stdin", "in"}}).dump());
    REQUIRE(python->ok());
    const json answer = python->json();
    INFO(answer.dump(2));
    CHECK(answer["stdout"] == "42 b'\\x00\\xff' v in\n");
    CHECK(answer["stderr"] == "w\n");
    CHECK(answer["exit_code"] == 0);
    CHECK(answer["status"] == "exited");
    CHECK(answer["usage"]["cpu_ms"] > 0);
    CHECK(answer["usage"]["wall_ms"] > 0);
    CHECK(answer["usage"]["memory_peak_bytes"] > 1 << 20);
    CHECK(gone(answer["sandbox_id"]));

    const auto bash = ask("POST /v1/run", run_body("bash", "echo out; echo err >&2; exit 7").dump());
    CHECK(bash->json()["stdout"] == "out\n");
    CHECK(bash->json()["stderr"] == "err\n");
    CHECK(bash->json()["exit_code"] == 7);
    CHECK(gone(bash->json()["sandbox_id"]));
}

TEST_CASE_METHOD(Host, "a traceback names the file, javascript runs or says what is missing") {
    const auto wrong = ask("POST /v1/run", run_body("python", "x = 1\nraise ValueError('no')").dump());
    CHECK_THAT(wrong->json()["stderr"].get<std::string>(), Catch::Contains("main.py\", line 2"));
    const auto script = ask("POST /v1/run", run_body("javascript", "console.log(6*7)").dump());
    if (script->ok()) {
        CHECK(script->json()["stdout"] == "42\n");
    } else {
        CHECK(script->error().errc() == Errc::command_not_found);
        CHECK_THAT(script->error().message(), Catch::Contains("node"));
    }
}

TEST_CASE_METHOD(Host, "a run that ends at a limit says which field raises it") {
    const auto late = ask("POST /v1/run", run_body("python", "import time\nprint('up', flush=True)\ntime.sleep(600)", {{"timeout_ms", 700}}).dump());
    CHECK(late->json()["status"] == "timed_out");
    CHECK(late->json()["stdout"] == "up\n");
    CHECK_THAT(late->json()["error"]["message"].get<std::string>(), Catch::Contains("700 ms: raise timeout_ms"));
    const auto large = ask("POST /v1/run", run_body("python", "a = bytearray(300 << 20)", {{"limits", {{"memory_mb", 64}}}}).dump());
    CHECK(large->json()["status"] == "oom_killed");
    CHECK_THAT(large->json()["error"]["message"].get<std::string>(), Catch::Contains("64 MiB, raise limits.memory_mb"));
    const auto loud = ask("POST /v1/run", run_body("bash", "head -c 5M /dev/zero | tr '\\0' x; echo done >&2", {{"limits", {{"output_mb", 1}}}}).dump());
    CHECK(loud->json()["stdout"].get_ref<const std::string&>().size() == 1 << 20);
    CHECK(loud->json()["stdout_bytes"] == 5 << 20);
    CHECK(loud->json()["stdout_truncated"] == true);
    CHECK(loud->json()["stderr"] == "done\n");
}

TEST_CASE_METHOD(Host, "events come as they happen, and a client that leaves ends its run") {
    FakeExchange exchange{context, *engine};
    exchange.headers["Accept"] = "application/x-ndjson";
    exchange.start("POST /v1/run", run_body("bash", "echo one; read -r; sleep 600", {{"stdin", "x\n"}}).dump());
    run_until([&] { return text_of(exchange.lines(), "stdout") == "one\n"; });
    const std::string id = exchange.lines().at(0)["sandbox_id"];
    CHECK_FALSE(exchange.done());
    CHECK_FALSE(gone(id));
    exchange.client_leaves();
    finish(exchange);
    CHECK(exchange.error().errc() == Errc::canceled);
    finish_tasks(exchange);
    CHECK(gone(id));
}

TEST_CASE_METHOD(Host, "programs of a sandbox: folder, user, refusals, detach, signals, output by offset") {
    const std::string box = this->box();
    const auto as_asked = ask("POST " + box + "/exec", R"({"shell":"pwd; id -u","cwd":"/tmp","user":"1234:1234"})");
    CHECK(as_asked->json()["stdout"] == "/tmp\n1234\n");
    const auto nowhere = ask("POST " + box + "/exec", R"({"argv":["true"],"cwd":"/nowhere"})");
    CHECK(nowhere->error().errc() == Errc::invalid_argument);
    CHECK_THAT(nowhere->error().message(), Catch::Contains("/nowhere"));
    const auto missing = ask("POST " + box + "/exec", R"({"argv":["no-such-program"]})");
    CHECK(missing->error().errc() == Errc::command_not_found);
    CHECK_THAT(missing->error().message(), Catch::Contains("no-such-program"));
    const auto background = ask("POST " + box + "/exec", R"({"shell":"(sleep 30; echo late) & echo now"})");
    CHECK(background->json()["stdout"] == "now\n");

    const auto started = ask("POST " + box + "/exec", R"({"shell":"trap 'echo got; exit 9' USR1; echo up; while :; do sleep 0.05; done","detach":true})");
    CHECK(started->answer->status == 202);
    const std::string exec = box + "/exec/" + started->json()["exec_id"].get<std::string>();
    run_until([&] { return ask("GET " + exec + "/output")->streamed == "up\n"; });
    CHECK(ask("GET " + exec)->json()["status"] == "running");
    REQUIRE(ask("DELETE " + exec + "?signal=USR1&scope=process")->ok());
    const auto followed = ask("GET " + exec + "/output?offset=1&follow=true");
    CHECK(followed->streamed == "p\ngot\n");
    run_until([&] { return ask("GET " + exec)->json()["status"] != "running"; });
    CHECK(ask("GET " + exec)->json()["exit_code"] == 9);
    CHECK(ask("GET " + exec + "/output?offset=8")->error().errc() == Errc::range_not_satisfiable);
}

TEST_CASE_METHOD(Host, "deleting an exec ends its whole tree, also what ignores SIGTERM or was left behind") {
    const std::string box = this->box();
    const auto stubborn = ask("POST " + box + "/exec", R"({"shell":"trap '' TERM; (trap '' TERM; exec setsid sleep 601) & echo up; wait; sleep 601","detach":true})");
    const std::string exec = box + "/exec/" + stubborn->json()["exec_id"].get<std::string>();
    run_until([&] { return ask("GET " + exec + "/output")->streamed == "up\n"; });
    CHECK(ask("DELETE " + exec)->json()["status"] == "signaled");
    CHECK(shell(box, "pgrep -c -f 'sleep 60[1]'; true")["stdout"] == "0\n");

    const json left = shell(box, "sleep 602 & echo up");
    CHECK(shell(box, "pgrep -c -f 'sleep 60[2]'; true")["stdout"] == "1\n");
    CHECK(ask("DELETE " + box + "/exec/" + left["exec_id"].get<std::string>())->json()["status"] == "exited");
    run_until([&] { return shell(box, "pgrep -c -f 'sleep 60[2]'; true")["stdout"] == "0\n"; });
}

TEST_CASE_METHOD(Host, "a connection: stdin in every form, output, end; a terminal; coming back at a byte") {
    const std::string box = this->box();
    {
        Client cat{*this, box, {{"type", "start"}, {"argv", {"cat"}}}};
        run_until([&] { return cat.has("started"); });
        cat.wire.say({{"type", "stdin"}, {"data", "one "}});
        cat.wire.say({{"type", "stdin"}, {"data", "dHdvIA=="}, {"encoding", "base64"}});
        cat.wire.say_binary("three");
        cat.wire.say({{"type", "stdin_close"}});
        run_until([&] { return cat.has("exit"); });
        CHECK(cat.wire.text_of("stdout") == "one two three");
        CHECK(cat.last()["exit_code"] == 0);
        finish(cat.exchange);
        CHECK(cat.wire.close_code == 1000);
    }
    {
        Client terminal{*this, box, {{"type", "start"}, {"argv", {"bash", "--norc", "-i"}}, {"pty", true}, {"rows", 33}, {"cols", 99}}};
        terminal.wire.say({{"type", "stdin"}, {"data", "stty size\n"}});
        run_until([&] { return terminal.wire.text_of("pty").find("33 99") != std::string::npos; });
        terminal.wire.say({{"type", "resize"}, {"rows", 12}, {"cols", 44}});
        terminal.wire.say({{"type", "stdin"}, {"data", "stty size\n"}});
        run_until([&] { return terminal.wire.text_of("pty").find("12 44") != std::string::npos; });
        terminal.wire.say({{"type", "stdin_close"}});
        run_until([&] { return terminal.has("error"); });
        // A line editor takes the character only once it has set the terminal up for its next line.
        run_until([&] {
            const std::string seen = terminal.wire.text_of("pty");
            return seen.find("$ ", seen.find("12 44")) != std::string::npos;
        });
        terminal.wire.say({{"type", "stdin"}, {"data", "\x04"}});
        run_until([&] { return terminal.has("exit"); });
    }
    std::string id;
    std::string seen;
    {
        Client first{*this, box, {{"type", "start"}, {"shell", "for i in 1 2 3 4 5 6; do echo line $i; sleep 0.1; done"}}};
        run_until([&] { return first.wire.text_of("stdout").find("line 2") != std::string::npos; });
        id = first.wire.events[0]["exec_id"];
        seen = first.wire.text_of("stdout");
    }
    Client second{*this, box, {{"type", "attach"}, {"exec_id", id}, {"stdout_offset", seen.size()}}};
    run_until([&] { return second.has("exit"); });
    CHECK(seen + second.wire.text_of("stdout") == "line 1\nline 2\nline 3\nline 4\nline 5\nline 6\n");
}

TEST_CASE_METHOD(Host, "a program may be bound to its connection") {
    const std::string box = this->box();
    std::string id;
    {
        Client bound{*this, box, {{"type", "start"}, {"shell", "echo up; sleep 600"}, {"kill_on_disconnect", true}}};
        run_until([&] { return bound.has("stdout"); });
        id = bound.wire.events[0]["exec_id"];
    }
    run_until([&] { return ask("GET " + box + "/exec/" + id)->json()["status"] == "signaled"; });
}

}  // namespace sandboxd::api::testing
