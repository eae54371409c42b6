#include <csignal>

#include <catch2/catch.hpp>

#include "tests/unit/api/exec_bench.hpp"

// The exec WebSocket.
namespace sandboxd::api::testing {

namespace {

using engine::ExecStatus;
using engine::SignalScope;
using nlohmann::json;

struct Connection {
    Bench& bench;
    FakeExchange exchange{bench.io, bench.engine};
    FakeSocket::Wire& wire = *exchange.wire;

    explicit Connection(Bench& on, const json& first) : bench{on} {
        exchange.start("GET " + kExecPath + "/ws");
        say(first);
    }
    void say(const json& message) {
        wire.say(message);
        exchange.step();
    }
    json last() const { return wire.events.back(); }
};

json start(json more = json::object()) {
    more["type"] = "start";
    if (!more.contains("shell")) more["argv"] = {"program"};
    return more;
}

json attach(const FakeExec& exec, json more = json::object()) {
    more["type"] = "attach";
    more["exec_id"] = exec.id().str();
    return more;
}

}  // namespace

TEST_CASE("a program is started, written to and read from over one connection") {
    Bench bench;
    Connection connection{bench, start({{"env", {{"A", "b"}}}})};
    REQUIRE(bench.sandbox->started.size() == 1);
    FakeExec& exec = bench.exec();
    CHECK(exec.request.stdin_mode == engine::StdinMode::pipe);
    REQUIRE(connection.wire.events.size() == 1);
    CHECK(connection.last()["type"] == "started");
    CHECK(connection.last()["exec_id"] == exec.id().str());
    CHECK(connection.last()["sandbox_id"] == "box00001");
    connection.say({{"type", "stdin"}, {"data", "hello "}});
    connection.say({{"type", "stdin"}, {"data", "d29ybGQ="}, {"encoding", "base64"}});
    connection.wire.say_binary("!\xFF");
    connection.exchange.step();
    CHECK(exec.input == "hello world!\xFF");
    CHECK_FALSE(exec.input_closed);
    connection.say({{"type", "stdin_close"}});
    CHECK(exec.input_closed);
    exec.output.append("out");
    exec.errors.append("err");
    connection.exchange.step();
    CHECK(connection.wire.text_of("stdout") == "out");
    CHECK(connection.wire.text_of("stderr") == "err");
    exec.exit(4);
    connection.exchange.step();
    REQUIRE(connection.exchange.ok());
    CHECK(connection.last()["type"] == "exit");
    CHECK(connection.last()["exit_code"] == 4);
    CHECK(connection.last()["usage"].is_object());
    CHECK(connection.wire.close_code == 1000);
}

TEST_CASE("a terminal is one stream and can be resized") {
    Bench bench;
    Connection connection{bench, start({{"pty", true}, {"rows", 10}, {"cols", 20}})};
    FakeExec& exec = bench.exec();
    CHECK(exec.request.pty);
    CHECK(exec.request.rows == 10);
    CHECK(exec.request.cols == 20);
    exec.output.append("$ ");
    connection.exchange.step();
    CHECK(connection.last() == json{{"type", "pty"}, {"offset", 0}, {"data", "$ "}});
    connection.say({{"type", "resize"}, {"rows", 50}, {"cols", 132}});
    CHECK(exec.sizes == std::vector<std::pair<int, int>>{{50, 132}});
    exec.output.finish();
    exec.end(ExecStatus::exited);
    connection.exchange.step();
    CHECK(connection.exchange.ok());
}

TEST_CASE("a terminal's input is not closed, and the client is told what to send instead") {
    Bench bench;
    Connection connection{bench, start({{"pty", true}})};
    connection.say({{"type", "stdin_close"}});
    CHECK(connection.last()["type"] == "error");
    CHECK_THAT(connection.last()["error"]["message"].get<std::string>(), Catch::Contains("\\u0004"));
    CHECK_FALSE(connection.wire.close_code);
    connection.say({{"type", "stdin"}, {"data", "still"}});
    CHECK(bench.exec().input == "still");
    CHECK_FALSE(bench.exec().input_closed);
    bench.exec().output.finish();
    bench.exec().end(ExecStatus::exited);
    connection.exchange.step();
    CHECK(connection.wire.close_code == 1000);
}

TEST_CASE("a connection that is cancelled leaves its program running") {
    Bench bench;
    Connection connection{bench, start()};
    connection.exchange.cancel();
    CHECK((connection.exchange.cancelled || connection.exchange.done()));
    CHECK(bench.exec().signals.empty());
}

TEST_CASE("signals go to the program, its group or all its processes") {
    Bench bench;
    Connection connection{bench, start()};
    connection.say({{"type", "signal"}, {"signal", "INT"}, {"scope", "group"}});
    connection.say({{"type", "signal"}, {"signal", "15"}});
    CHECK(bench.exec().signals ==
          std::vector<std::pair<int, SignalScope>>{{SIGINT, SignalScope::group}, {SIGTERM, SignalScope::tree}});
    bench.exec().exit();
    connection.exchange.step();
}

TEST_CASE("a program that does not read its stdin can still be signalled") {
    Bench bench;
    Connection connection{bench, start()};
    bench.exec().stdin_full = true;
    connection.say({{"type", "stdin"}, {"data", std::string(100'000, 'x')}});
    connection.say({{"type", "stdin"}, {"data", "y"}});
    connection.say({{"type", "signal"}, {"signal", "KILL"}});
    REQUIRE(bench.exec().signals.size() == 1);
    SECTION("and takes it later, in order") {
        bench.exec().take_stdin();
        connection.exchange.step();
        CHECK(bench.exec().input == std::string(100'000, 'x') + "y");
    }
    SECTION("and may end without") { CHECK(bench.exec().input.empty()); }
    bench.exec().exit();
    connection.exchange.step();
    CHECK(connection.exchange.ok());
}

TEST_CASE("what a client sends for stdin is held back past a bound") {
    Bench bench;
    Connection connection{bench, start()};
    bench.exec().stdin_full = true;
    for (int i = 0; i < 10; ++i) {
        connection.wire.say_binary(std::string(1 << 20, 'x'));
        connection.exchange.step();
    }
    // Four are queued, one waits for room; the others stay in the connection.
    CHECK(connection.wire.from_client.size() >= 4);
    bench.exec().take_stdin();
    connection.exchange.step();
    CHECK(connection.wire.from_client.empty());
    CHECK(bench.exec().input.size() == std::size_t{10} << 20);
    bench.exec().exit();
    connection.exchange.step();
    CHECK(connection.exchange.ok());
}

TEST_CASE("stdin that the program has closed is said once and is no reason to close") {
    Bench bench;
    Connection connection{bench, start()};
    bench.exec().stdin_refused = true;
    connection.say({{"type", "stdin"}, {"data", "x"}});
    connection.say({{"type", "stdin"}, {"data", "y"}});
    CHECK(connection.wire.types() == std::vector<std::string>{"started", "error"});
    CHECK(connection.last()["error"]["code"] == "unavailable");
    CHECK_FALSE(connection.wire.close_code);
    bench.exec().output.append("still here");
    connection.exchange.step();
    CHECK(connection.wire.text_of("stdout") == "still here");
    bench.exec().exit();
    connection.exchange.step();
    CHECK(connection.wire.close_code == 1000);
}

TEST_CASE("binary frames carry the stream, the offset and the very bytes") {
    Bench bench;
    Connection connection{bench, start({{"encoding", "binary"}})};
    const std::string bytes = std::string("\0\xFF\xC3", 3) + std::string(300 * 1024, 'z');
    bench.exec().output.append(bytes);
    bench.exec().errors.append("e");
    connection.exchange.step();
    std::string got;
    for (const std::string& frame : connection.wire.frames) {
        REQUIRE(frame.size() > 9);
        REQUIRE(frame.size() <= 9 + 256 * 1024);
        std::uint64_t offset = 0;
        for (int i = 1; i <= 8; ++i) offset = offset << 8 | static_cast<std::uint8_t>(frame[static_cast<std::size_t>(i)]);
        if (frame[0] == 2) {
            CHECK(frame.substr(9) == "e");
            continue;
        }
        REQUIRE(frame[0] == 1);
        REQUIRE(offset == got.size());
        got += frame.substr(9);
    }
    CHECK(got == bytes);
    bench.exec().exit();
    connection.exchange.step();
    CHECK(connection.last()["type"] == "exit");
}

TEST_CASE("a client that leaves can come back at the byte it has seen") {
    Bench bench;
    std::string seen;
    {
        Connection connection{bench, start({{"timeout_ms", 777}})};
        bench.exec().output.append("0123");
        connection.exchange.step();
        seen = connection.wire.text_of("stdout");
        connection.wire.leave();
        connection.exchange.step();
        REQUIRE(connection.exchange.done());
        CHECK(bench.exec().signals.empty());
    }
    bench.exec().output.append("4567");
    Connection again{bench, attach(bench.exec(), {{"stdout_offset", 4}})};
    CHECK(again.wire.events.at(0)["status"] == "running");
    CHECK(again.last() == json{{"type", "stdout"}, {"offset", 4}, {"data", "4567"}});
    seen += again.wire.text_of("stdout");
    CHECK(seen == "01234567");
    again.say({{"type", "stdin"}, {"data", "from both"}});
    CHECK(bench.exec().input == "from both");
    bench.exec().exit();
    again.exchange.step();
    CHECK(again.last()["type"] == "exit");
    Connection late{bench, attach(bench.exec())};
    CHECK(late.wire.text_of("stdout") == "01234567");
    CHECK(late.last()["type"] == "exit");
    CHECK(late.wire.close_code == 1000);
}

TEST_CASE("a program may be bound to its connection") {
    Bench bench;
    Connection connection{bench, start({{"kill_on_disconnect", true}})};
    connection.wire.leave();
    connection.exchange.step();
    REQUIRE(connection.exchange.done());
    CHECK(bench.exec().signals == std::vector<std::pair<int, SignalScope>>{{SIGKILL, SignalScope::tree}});
}

TEST_CASE("a client that does not read is waited for, and the program goes on") {
    Bench bench;
    Connection connection{bench, start()};
    connection.wire.hold(true);
    bench.exec().output.append("one");
    connection.exchange.step();
    bench.exec().output.append("two");
    bench.exec().exit();
    connection.exchange.step();
    CHECK_FALSE(connection.exchange.done());
    CHECK(connection.wire.events.size() == 1);
    connection.wire.hold(false);
    connection.exchange.step();
    CHECK(connection.exchange.ok());
    CHECK(connection.wire.text_of("stdout") == "onetwo");
    CHECK(connection.last()["type"] == "exit");
}

TEST_CASE("blocking output is consumed by being sent, or by the client's word once it gives it") {
    Bench bench;
    const bool acks = GENERATE(false, true);
    Connection connection{bench, start({{"on_output_limit", "block"}, {"acks", acks}})};
    bench.exec().output.append("0123456789");
    connection.exchange.step();
    CHECK(bench.exec().output.consumed_to == (acks ? 0 : 10));
    connection.say({{"type", "ack"}, {"stream", "stdout"}, {"offset", 10}});
    CHECK(bench.exec().output.consumed_to == 10);
    bench.exec().output.append("more");
    connection.exchange.step();
    CHECK(bench.exec().output.consumed_to == 10);
    connection.say({{"type", "ack"}, {"stream", "stdout"}, {"offset", 99}});
    CHECK(connection.last()["error"]["details"]["field"] == "offset");
    CHECK(connection.wire.close_code == 1008);
}

TEST_CASE("a client that breaks the protocol is told why and closed, the program goes on") {
    const std::vector<std::pair<json, std::string>> cases{
        {json{{"type", "dance"}}, "type"},
        {json{{"data", "x"}}, "type"},
        {json{{"type", 5}}, "type"},
        {json::array({"stdin"}), "type"},
        {json{{"type", "stdin"}}, "data"},
        {json{{"type", "stdin"}, {"data", "x"}, {"more", 1}}, "more"},
        {json{{"type", "signal"}, {"signal", "NO"}}, "signal"},
        {json{{"type", "resize"}, {"rows", 0}, {"cols", 1}}, "rows"},
    };
    for (const auto& [message, field] : cases) {
        CAPTURE(message);
        Bench bench;
        Connection connection{bench, start()};
        connection.say(message);
        REQUIRE(connection.exchange.done());
        CHECK(connection.last()["type"] == "error");
        CHECK(connection.last()["error"]["code"] == "invalid_argument");
        CHECK(connection.last()["error"]["details"]["field"] == field);
        CHECK(connection.wire.close_code == 1008);
        CHECK(bench.exec().signals.empty());
    }
}

TEST_CASE("a first message that opens nothing closes the connection") {
    Bench bench;
    SECTION("of another type") {
        Connection connection{bench, json{{"type", "stdin"}, {"data", "x"}}};
        CHECK(connection.last()["error"]["details"]["field"] == "type");
        CHECK(connection.wire.close_code == 1008);
    }
    SECTION("for an exec that is not there") {
        Connection connection{bench, json{{"type", "attach"}, {"exec_id", exec_id_from_number(9).str()}}};
        CHECK(connection.last()["error"]["code"] == "not_found");
    }
    SECTION("for a program that is not there") {
        bench.sandbox->start_error = Error{Errc::command_not_found, "exec", "nope"};
        Connection connection{bench, start()};
        CHECK(connection.last()["error"]["code"] == "command_not_found");
        CHECK(connection.wire.close_code == 1008);
    }
    SECTION("at an offset that is not kept") {
        bench.sandbox->on_exec = [](FakeExec& exec) {
            exec.output.append("0123456789");
            exec.output.first = 5;
            exec.exit();
        };
        Connection first{bench, start()};
        const std::uint64_t offset = GENERATE(4, 11);
        Connection connection{bench, attach(bench.exec(), {{"stdout_offset", offset}})};
        CHECK(connection.last()["error"]["code"] == "range_not_satisfiable");
        CHECK(connection.last()["error"]["details"]["first_offset"] == 5);
        CHECK(connection.last()["error"]["details"]["size"] == 10);
    }
}

TEST_CASE("a sandbox that is not there is refused before the upgrade") {
    Bench bench;
    FakeExchange exchange{bench.io, bench.engine};
    exchange.start("GET /v1/sandboxes/box00002/exec/ws");
    REQUIRE_FALSE(exchange.ok());
    CHECK(exchange.error().is(Errc::not_found));
    CHECK_FALSE(exchange.upgraded);
}

TEST_CASE("output that cannot be read closes with our fault") {
    Bench bench;
    Connection connection{bench, start()};
    bench.exec().output.read_fails = true;
    bench.exec().output.append("x");
    bench.exec().exit();
    connection.exchange.step();
    REQUIRE(connection.exchange.done());
    CHECK(connection.last()["error"]["code"] == "internal");
    CHECK(connection.wire.close_code == 1011);
}

TEST_CASE("a meter event comes each second") {
    Bench bench;
    Connection connection{bench, start()};
    bench.exec().figures.counters.cpu_ns = 5'000'000;
    bench.run_until([&] { return connection.wire.events.size() == 2; });
    CHECK(connection.last()["type"] == "meter");
    CHECK(connection.last()["usage"]["cpu_ms"] == 5);
    bench.exec().exit();
    connection.exchange.step();
    CHECK(connection.exchange.ok());
}

}  // namespace sandboxd::api::testing
