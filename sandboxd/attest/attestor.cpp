#include "sandboxd/attest/attestor.hpp"

#include <algorithm>
#include <optional>

#include "sandboxd/attest/signing_key.hpp"
#include "sandboxd/attest/statement.hpp"
#include "sandboxd/core/async.hpp"
#include "sandboxd/core/log.hpp"

namespace sandboxd::attest {

namespace {

constexpr auto kTestTimeout = std::chrono::seconds{40};
constexpr auto kBetweenTests = std::chrono::seconds{10};
constexpr auto kFirstPause = std::chrono::seconds{1};
constexpr auto kLongestPause = std::chrono::seconds{60};

std::string join(const std::vector<std::string>& names) {
    std::string out;
    for (const std::string& name : names) out += (out.empty() ? "" : ", ") + name;
    return out;
}

Error too_often(std::string detail, std::chrono::nanoseconds wait) {
    const auto seconds = std::chrono::ceil<std::chrono::seconds>(wait).count();
    return Error{Errc::rate_limited, "attest", std::move(detail)}.fact("retry_after_s", std::int64_t{seconds});
}

class AttestorImpl final : public Attestor {
public:
    AttestorImpl(asio::any_io_executor executor, AttestorConfig config, SigningKey key)
        : config_{std::move(config)}, key_{std::move(key)}, signatures_{config_.signatures_burst}, changed_{executor}, tasks_{executor} {}

    void start() override { tasks_.spawn("first self-test", until_tested()); }

    asio::awaitable<Result<control::Attestation>> attest(control::AttestRequest request, Deadline deadline) override {
        if (!is_nonce(request.nonce)) {
            co_return Error{Errc::invalid_argument, "nonce", "expected at most 128 of A-Z a-z 0-9 . _ -"}.fact("field", std::string{"nonce"});
        }
        SBX_CO_CHECK(take_signature());
        if (request.fresh) SBX_CO_CHECK(start_fresh());
        while (testing_ && (request.fresh || !result_)) SBX_CO_CHECK(co_await changed_.wait(deadline));
        if (failure_ && (request.fresh || !result_)) co_return Error{*failure_}.with("the self-test could not be made");
        if (!result_) co_return Error{Errc::unavailable, "attest", "no self-test has been made yet"};
        co_return sign(std::move(request.nonce));
    }

    asio::awaitable<void> stop() override {
        stopping_ = true;
        changed_.notify();
        (void)co_await tasks_.join(Deadline::never());  // each task ends by itself
    }

private:
    Result<control::Attestation> sign(std::string nonce) const {
        Statement statement;
        statement.nonce = std::move(nonce);
        statement.issued = system_clock().wall();
        statement.seccomp_sha256 = config_.seccomp_sha256;
        statement.accepted = config_.accepted;
        control::Attestation out;
        out.payload = to_text(statement, *result_);
        SBX_TRY(out.signature, key_.sign(out.payload));
        out.public_key = key_.public_pem();
        out.fingerprint = key_.fingerprint();
        return out;
    }

    // Signing is cheap, not free, and every key may ask.
    Result<void> take_signature() {
        const SteadyTime now = system_clock().steady();
        const double passed = std::chrono::duration<double>(now - refilled_).count();
        refilled_ = now;
        signatures_ = std::min(config_.signatures_burst, signatures_ + passed * config_.signatures_per_second);
        if (signatures_ < 1) return too_often("too many attestations are asked for", std::chrono::seconds{1});
        signatures_ -= 1;
        return {};
    }

    // A test under way is fresh enough for everybody who asks meanwhile.
    Result<void> start_fresh() {
        if (stopping_) return Error{Errc::draining, "attest", "the daemon stops"};
        if (testing_) return {};
        const auto since = system_clock().steady() - tested_at_;
        if (result_ && since < kBetweenTests) return too_often("the last self-test was a moment ago", kBetweenTests - since);
        testing_ = true;
        tasks_.spawn("self-test", one_test());
        return {};
    }

    asio::awaitable<void> until_tested() {
        auto pause = kFirstPause;
        while (!stopping_ && !result_) {
            // A client's fresh test may be under way instead.
            if (!testing_) {
                testing_ = true;
                co_await one_test();
            }
            if (result_) break;
            const Deadline again = Deadline::after(pause);
            while (!stopping_ && !again.passed()) (void)co_await changed_.wait(again);
            pause = std::min(pause * 4, kLongestPause);
        }
    }

    asio::awaitable<void> one_test() {
        const Deadline deadline = Deadline::after(kTestTimeout);
        auto result = co_await config_.test(deadline);
        testing_ = false;
        tested_at_ = system_clock().steady();
        if (result) {
            failure_.reset();
            result_ = *std::move(result);
            judge();
        } else {
            // Says nothing of the walls: the last word on them stands.
            failure_ = result.error();
            log::warn("the self-test could not be made", {{"error", result.error()}});
        }
        changed_.notify();
    }

    void judge() {
        std::vector<std::string> broken = broken_walls(*result_);
        for (const WallFinding& finding : result_->walls) {
            if (finding.status != WallStatus::broken) continue;
            log::error("a wall does not hold", {{"wall", std::string{isolation::wall_info(finding.wall).name}}, {"observed", finding.observed}});
        }
        std::erase_if(broken, [&](const std::string& name) {
            return std::find(config_.accepted.begin(), config_.accepted.end(), name) != config_.accepted.end();
        });
        log::info("self-test made", {{"ms", result_->took.count()}, {"refuses_creates", !broken.empty()}});
        if (broken.empty()) return config_.refuse_creates(std::nullopt);
        config_.refuse_creates(Error{Errc::unavailable, "self-test",
                                      "these walls do not hold on this node: " + join(broken) +
                                          "; GET /v1/attest says what was seen, docs/security.md what to do"}
                                    .fact("walls", join(broken)));
    }

    AttestorConfig config_;
    SigningKey key_;
    std::optional<TestResult> result_;
    std::optional<Error> failure_;  // of the last test, when it could not be made
    bool testing_ = false;
    bool stopping_ = false;
    SteadyTime tested_at_{};
    SteadyTime refilled_{};
    double signatures_ = 0;
    Event changed_;
    TaskGroup tasks_;
};

}  // namespace

Result<std::unique_ptr<Attestor>> Attestor::make(asio::any_io_executor executor, AttestorConfig config) {
    SBX_TRY(SigningKey key, SigningKey::load_or_make(config.key_file));
    return std::unique_ptr<Attestor>{std::make_unique<AttestorImpl>(std::move(executor), std::move(config), std::move(key))};
}

}  // namespace sandboxd::attest
