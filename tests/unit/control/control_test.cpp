// Both ends of the control protocol over a real socket pair, with a node that answers from memory.
#include <unistd.h>

#include <array>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <catch2/catch.hpp>
#include <optional>

#include "sandboxd/control/client.hpp"
#include "sandboxd/control/protocol.hpp"
#include "sandboxd/control/server.hpp"
#include "sandboxd/core/sys.hpp"

using namespace sandboxd;
using namespace sandboxd::control;

namespace {

Deadline soon() { return Deadline::after(std::chrono::seconds{10}); }
SandboxId id_of(std::string text) { return SandboxId::trusted(std::move(text)); }

class FakeNode final : public Node {
public:
    std::optional<Error> refusal;
    std::vector<SandboxId> living;
    CreateSpec created;
    std::string destroyed;
    bool drain_done = false;
    AttestRequest attest_request;

    asio::awaitable<Result<SandboxHandle>> create(CreateSpec spec, Deadline) override {
        if (refusal) co_return *refusal;
        created = spec;
        co_return handle(spec.id);
    }
    asio::awaitable<Result<void>> destroy(SandboxId id, Deadline) override {
        destroyed = id.str();
        co_return Result<void>{};
    }
    asio::awaitable<Result<SandboxHandle>> reconnect(SandboxId id, Deadline) override { co_return handle(id); }
    asio::awaitable<Result<std::vector<SandboxId>>> list(Deadline) override { co_return living; }
    asio::awaitable<Result<void>> set_frozen(SandboxId, bool, Deadline) override { co_return Result<void>{}; }
    asio::awaitable<Result<void>> set_limits(SandboxId, policies::Limits limits, Deadline) override {
        created.limits = limits;
        co_return Result<void>{};
    }
    asio::awaitable<Result<std::vector<std::uint64_t>>> disk_usage(std::vector<SandboxId> ids, Deadline) override {
        std::vector<std::uint64_t> sizes;
        for (std::size_t i = 0; i < ids.size(); ++i) sizes.push_back((1ULL << 40) + i);
        co_return sizes;
    }
    asio::awaitable<Result<NodeStatus>> status(Deadline) override {
        NodeStatus status;
        status.pool_kind = "tmpfs";
        status.cpus = 7;
        status.removals_stuck = 3;
        status.templates = {"host", "python"};
        status.refusal = "a wall is broken";
        co_return status;
    }
    asio::awaitable<Result<Attestation>> attest(AttestRequest request, Deadline) override {
        attest_request = request;
        co_return Attestation{"payload", std::string(64, '\xff'), "pem", "sha256:00"};
    }
    void drained() override { drain_done = true; }

private:
    static Result<SandboxHandle> handle(const SandboxId& id) {
        SandboxHandle out;
        out.id = id;
        SBX_TRY(out.agent, sys::memfd("agent", "agent"));
        SBX_TRY(out.memory_dir, sys::memfd("memory", "memory"));
        SBX_TRY(out.cpu_dir, sys::memfd("cpu", "cpu"));
        SBX_TRY(out.pids_dir, sys::memfd("pids", "pids"));
        out.frozen = true;
        return out;
    }
};

struct Fixture {
    asio::io_context context;
    FakeNode node;
    std::unique_ptr<Client> client;
    std::unique_ptr<Server> server;
    bool server_ended = false;
    bool client_ended = false;
    Fd raw;  // the client's end, when no Client is made

    explicit Fixture(bool with_client = true) {
        auto pair = sys::seqpacket_pair();
        REQUIRE(pair);
        server = Server::make(context.get_executor(), node, std::move(pair->first));
        asio::co_spawn(context, server->run(), [this](std::exception_ptr) { server_ended = true; });
        if (!with_client) {
            raw = std::move(pair->second);
            return;
        }
        client = Client::make(context.get_executor(), std::move(pair->second));
        asio::co_spawn(context, client->run(), [this](std::exception_ptr) { client_ended = true; });
    }
    ~Fixture() {
        context.stop();
    }
    template <class T>
    T run(asio::awaitable<T> task) {
        std::optional<T> out;
        asio::co_spawn(context, std::move(task), [&](std::exception_ptr, T value) { out.emplace(std::move(value)); });
        until([&] { return out.has_value(); });
        return *std::move(out);
    }
    void until(const std::function<bool()>& holds) {
        const Deadline end = soon();
        context.restart();
        while (!holds()) {
            REQUIRE_FALSE(end.passed());
            context.run_one_for(std::chrono::milliseconds{50});
        }
    }
};

std::string content(const Fd& fd) {
    std::array<char, 16> buffer{};
    const ssize_t n = ::pread(fd.get(), buffer.data(), buffer.size(), 0);
    return {buffer.data(), static_cast<std::size_t>(std::max<ssize_t>(n, 0))};
}

}  // namespace

TEST_CASE("a create carries every value there and the descriptors back, in their places") {
    Fixture f;
    CreateSpec spec;
    spec.id = id_of("sandbox0001");
    spec.template_name = "host";
    spec.hostname = "box";
    spec.limits.cpu_milli = 250;
    spec.limits.memory_bytes = 123 << 20;
    spec.limits.disk_bytes = 7ULL << 33;
    spec.limits.pids = 99;
    spec.allow_root = false;
    spec.profile = policies::Profile::debug;
    auto handle = f.run(f.client->create(spec, soon()));
    REQUIRE(handle);
    CHECK(handle->id == spec.id);
    CHECK(handle->frozen);
    CHECK(content(handle->agent) == "agent");
    CHECK(content(handle->memory_dir) == "memory");
    CHECK(content(handle->cpu_dir) == "cpu");
    CHECK(content(handle->pids_dir) == "pids");
    CHECK(f.node.created.template_name == "host");
    CHECK(f.node.created.hostname == "box");
    CHECK_FALSE(f.node.created.allow_root);
    CHECK(f.node.created.profile == policies::Profile::debug);
    policies::Limits sent = spec.limits;
    sent.output_bytes = policies::Limits{}.output_bytes;  // no business of the monitor
    CHECK(f.node.created.limits == sent);
}

TEST_CASE("an error arrives as it was: code, words and facts") {
    Fixture f;
    f.node.refusal = Error{Errc::node_full, "create", "no room"}.fact("limit", std::string{"sandboxes_max"}).fact("allowed", std::int64_t{5});
    CreateSpec spec;
    spec.id = id_of("sandbox0001");
    auto ours = f.run(f.client->create(spec, soon()));
    REQUIRE_FALSE(ours);
    const Error error = ours.error();
    CHECK(error.is(Errc::node_full));
    CHECK(error.message() == "create: no room");
    REQUIRE(error.facts().size() == 2);
    CHECK(std::get<std::string>(error.facts()[0].second) == "sandboxes_max");
    CHECK(std::get<std::int64_t>(error.facts()[1].second) == 5);
    f.node.refusal = errno_error(ENOSPC, "mkdir", "/x");
    auto kernels = f.run(f.client->create(spec, soon()));
    REQUIRE_FALSE(kernels);
    CHECK(kernels.error().is_errno(ENOSPC));
}

TEST_CASE("a list longer than a message comes whole; sizes come in order") {
    Fixture f;
    for (int i = 0; i < 1300; ++i) f.node.living.push_back(id_of("sandbox" + std::to_string(1000 + i)));
    auto ids = f.run(f.client->list(soon()));
    REQUIRE(ids);
    CHECK(*ids == f.node.living);
    auto sizes = f.run(f.client->disk_usage({id_of("sandbox1"), id_of("sandbox2")}, soon()));
    REQUIRE(sizes);
    CHECK(*sizes == std::vector<std::uint64_t>{1ULL << 40, (1ULL << 40) + 1});
    auto status = f.run(f.client->status(soon()));
    REQUIRE(status);
    CHECK(status->templates == std::vector<std::string>{"host", "python"});
    CHECK(status->cpus == 7);
    CHECK(status->removals_stuck == 3);
    CHECK(status->refusal == "a wall is broken");
}

TEST_CASE("an attestation comes byte for byte") {
    Fixture f;
    AttestRequest request;
    request.nonce = "once";
    request.fresh = true;
    auto attestation = f.run(f.client->attest(request, soon()));
    REQUIRE(attestation);
    CHECK(f.node.attest_request.nonce == "once");
    CHECK(f.node.attest_request.fresh);
    CHECK(attestation->payload == "payload");
    CHECK(attestation->signature == std::string(64, '\xff'));
    CHECK(attestation->public_key == "pem");
    CHECK(attestation->fingerprint == "sha256:00");
}

TEST_CASE("ids become names of folders, so the monitor takes none but well-shaped ones") {
    Fixture f;
    for (const char* bad : {"", "short", "../../../etc", "UPPERCASE1", "with/slash1", "a23456789012345678901234567890123456789012"}) {
        INFO(bad);
        auto done = f.run(f.client->destroy(id_of(bad), soon()));
        REQUIRE_FALSE(done);
        CHECK(done.error().is(Errc::invalid_argument));
    }
    CHECK(f.node.destroyed.empty());
    REQUIRE(f.run(f.client->destroy(id_of("sandbox0001"), soon())));
    CHECK(f.node.destroyed == "sandbox0001");
}

TEST_CASE("events reach the client, and drained reaches the node") {
    Fixture f;
    std::string gone;
    bool drain = false;
    f.client->on_gone = [&](const SandboxId& id, GoneReason reason) { gone = id.str() + std::to_string(static_cast<int>(reason)); };
    f.client->on_drain = [&](Deadline) { drain = true; };
    f.server->send_gone(id_of("sandbox0001"), GoneReason::init_died);
    f.server->send_drain(soon());
    f.until([&] { return drain; });
    CHECK(gone == "sandbox00012");
    f.client->drained();
    f.until([&] { return f.node.drain_done; });
}

TEST_CASE("a peer that breaks the protocol is hung up on, whatever it sends") {
    const auto send = [](std::span<const std::byte> bytes) {
        Fixture f{false};
        REQUIRE(sys::send_message(f.raw.get(), bytes));
        f.until([&] { return f.server_ended; });
    };
    std::array<std::byte, 512> buffer{};
    send(std::span{buffer}.first(3));   // shorter than a header
    send(std::span{buffer}.first(64));  // another protocol
    IdRequest body;
    body.id = "sandbox0001";
    const std::size_t size = encode(buffer.data(), buffer.size(), Type::destroy, 1, body);
    for (std::size_t cut = 12; cut < size; ++cut) send(std::span{buffer}.first(cut));
    send(std::span{buffer}.first(size + 1));  // something after the end
    const std::size_t reply = encode(buffer.data(), buffer.size(), Type::ok, 1, Empty{});
    send(std::span{buffer}.first(reply));  // not a request
}

TEST_CASE("calls end when the monitor is gone, also one that is under way") {
    asio::io_context context;
    auto pair = sys::seqpacket_pair();
    REQUIRE(pair);
    const auto client = Client::make(context.get_executor(), std::move(pair->second));
    asio::co_spawn(context, client->run(), asio::detached);
    std::optional<Errc> ended;
    asio::co_spawn(context, client->list(soon()), [&](std::exception_ptr, Result<std::vector<SandboxId>> ids) { ended = ids.error().errc(); });
    context.run_for(std::chrono::milliseconds{20});
    CHECK_FALSE(ended.has_value());
    pair->first.reset();  // as a kill -9 of the monitor does
    context.restart();
    context.run_for(std::chrono::seconds{10});  // returns when nothing is left to do
    REQUIRE(ended == Errc::unavailable);
    ended.reset();
    asio::co_spawn(context, client->list(soon()), [&](std::exception_ptr, Result<std::vector<SandboxId>> ids) { ended = ids.error().errc(); });
    context.restart();
    context.run_for(std::chrono::seconds{10});
    CHECK(ended == Errc::unavailable);
}
