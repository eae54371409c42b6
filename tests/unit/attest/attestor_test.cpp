// When tests are made, what is signed, and when creates are refused; the test itself is a stand-in.
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <catch2/catch.hpp>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "sandboxd/attest/attestor.hpp"
#include "sandboxd/core/async.hpp"

using namespace sandboxd;
using namespace sandboxd::attest;

namespace {

class Bench {
public:
    Bench() {
        std::string name = (std::filesystem::temp_directory_path() / "attestor-XXXXXX").string();
        folder_ = ::mkdtemp(name.data());
        for (const isolation::WallInfo& info : isolation::kTestedWalls) result.walls.push_back({info.wall, WallStatus::holds, "seen"});
    }
    ~Bench() {
        if (attestor) run(attestor->stop());
        std::filesystem::remove_all(folder_);
    }
    Bench(const Bench&) = delete;
    Bench& operator=(const Bench&) = delete;

    void make(std::vector<std::string> accepted = {}) {
        AttestorConfig config;
        config.key_file = folder_ + "/attest.key";
        config.accepted = std::move(accepted);
        config.signatures_per_second = signatures_per_second;
        config.signatures_burst = signatures_burst;
        config.test = [this](Deadline) { return test(); };
        config.refuse_creates = [this](std::optional<Error> why) { refusal = std::move(why); };
        attestor = *Attestor::make(context_.get_executor(), std::move(config));
    }
    // Runs other work too, until the coroutine has ended.
    void run(asio::awaitable<void> task) {
        bool done = false;
        asio::co_spawn(context_, std::move(task), [&](std::exception_ptr e) {
            if (e) std::rethrow_exception(e);
            done = true;
            context_.stop();
        });
        context_.restart();
        context_.run();
        REQUIRE(done);
    }
    Result<control::Attestation> ask(std::string nonce, bool fresh) {
        std::optional<Result<control::Attestation>> out;
        run(ask_into(std::move(nonce), fresh, out));
        return *std::move(out);
    }

    TestResult result;
    std::optional<Error> failure;
    std::optional<Error> refusal;
    double signatures_per_second = 1e6;
    double signatures_burst = 1e6;
    int tests = 0;
    int most_at_once = 0;
    std::unique_ptr<Attestor> attestor;

private:
    asio::awaitable<Result<TestResult>> test() {
        ++tests;
        most_at_once = std::max(most_at_once, ++running_);
        const Deadline little = Deadline::after(std::chrono::milliseconds{20});
        (void)co_await sleep_until(little);
        --running_;
        if (failure) co_return *failure;
        co_return result;
    }
    asio::awaitable<void> ask_into(std::string nonce, bool fresh, std::optional<Result<control::Attestation>>& out) {
        control::AttestRequest request;
        request.nonce = std::move(nonce);
        request.fresh = fresh;
        const Deadline deadline = Deadline::after(std::chrono::seconds{10});
        out = co_await attestor->attest(std::move(request), deadline);
    }

    asio::io_context context_{1};
    std::string folder_;
    int running_ = 0;
};

}  // namespace

TEST_CASE("the first test is waited for, and its result is signed again and again") {
    Bench bench;
    bench.make();
    bench.attestor->start();
    auto first = bench.ask("n1", false);
    REQUIRE(first);
    auto second = bench.ask("n2", false);
    REQUIRE(second);
    CHECK(bench.tests == 1);
    CHECK(nlohmann::json::parse(first->payload)["nonce"] == "n1");
    CHECK(nlohmann::json::parse(second->payload)["nonce"] == "n2");
    CHECK(first->signature != second->signature);
    CHECK(first->public_key == second->public_key);
    CHECK_FALSE(bench.refusal);
}

TEST_CASE("a fresh test is made when asked for, not again at once, and never two at a time") {
    Bench bench;
    bench.make();
    bench.attestor->start();
    REQUIRE(bench.ask("", true));
    CHECK(bench.tests == 1);  // the one that was under way is fresh
    auto again = bench.ask("", true);
    REQUIRE_FALSE(again);
    CHECK(again.error().is(Errc::rate_limited));
    CHECK(bench.tests == 1);
    CHECK(bench.most_at_once == 1);
    REQUIRE(bench.ask("", false));
}

TEST_CASE("signatures are not to be had without end") {
    Bench bench;
    bench.signatures_per_second = 0;
    bench.signatures_burst = 3;
    bench.make();
    bench.attestor->start();
    for (int i = 0; i < 3; ++i) REQUIRE(bench.ask("", false));
    auto answer = bench.ask("", false);
    REQUIRE_FALSE(answer);
    CHECK(answer.error().is(Errc::rate_limited));
}

TEST_CASE("a nonce of another shape is refused before anything is done") {
    Bench bench;
    bench.make();
    bench.attestor->start();
    auto answer = bench.ask("a\"b", false);
    REQUIRE_FALSE(answer);
    CHECK(answer.error().is(Errc::invalid_argument));
}

TEST_CASE("a required wall that is broken refuses creates until it holds again") {
    Bench bench;
    bench.result.walls[static_cast<std::size_t>(Wall::io_uring)].status = WallStatus::broken;
    bench.make();
    bench.attestor->start();
    auto answer = bench.ask("", false);
    REQUIRE(answer);
    CHECK(nlohmann::json::parse(answer->payload)["verdict"] == "broken");
    REQUIRE(bench.refusal);
    CHECK(bench.refusal->is(Errc::unavailable));
    CHECK(bench.refusal->message().find("io_uring") != std::string::npos);
}

TEST_CASE("what the configuration accepts is said, and refuses nothing") {
    Bench bench;
    bench.result.walls[static_cast<std::size_t>(Wall::io_uring)].status = WallStatus::broken;
    bench.make({"io_uring"});
    bench.attestor->start();
    auto answer = bench.ask("", false);
    REQUIRE(answer);
    const auto document = nlohmann::json::parse(answer->payload);
    CHECK(document["verdict"] == "broken");
    CHECK(document["accepted_broken"][0] == "io_uring");
    CHECK_FALSE(bench.refusal);
    // It does not cover another one.
    bench.result.walls[static_cast<std::size_t>(Wall::bpf)].status = WallStatus::broken;
    Bench other;
    other.result = bench.result;
    other.make({"io_uring"});
    other.attestor->start();
    REQUIRE(other.ask("", false));
    REQUIRE(other.refusal);
    CHECK(other.refusal->message().find("io_uring") == std::string::npos);
}

TEST_CASE("a test that can't be made says nothing of the walls: no signature, and no refusal") {
    Bench bench;
    bench.failure = Error{Errc::node_full, "create", "full"};
    bench.make();
    bench.attestor->start();
    auto answer = bench.ask("", false);
    REQUIRE_FALSE(answer);
    CHECK(answer.error().is(Errc::node_full));
    CHECK(answer.error().message().find("could not be made") != std::string::npos);
    CHECK_FALSE(bench.refusal);
    bench.failure.reset();
    REQUIRE(bench.ask("", true));
    CHECK(bench.tests == 2);
}
