#pragma once

#include <algorithm>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "api/stream_race.hpp"
#include "sandboxd/core/async.hpp"
#include "sandboxd/engine/sandbox.hpp"

// A sandbox without a jail: programs are what a test says they are.
namespace sandboxd::api::testing {

class FakeOutput final : public engine::Output {
public:
    explicit FakeOutput(asio::any_io_executor executor) : changed_{std::move(executor)} {}

    void append(std::string_view bytes) {
        data += bytes;
        changed_.notify();
    }
    void finish() {
        over = true;
        changed_.notify();
    }

    std::uint64_t size() const override { return data.size(); }
    std::uint64_t dropped() const override { return lost; }
    std::uint64_t first_offset() const override { return first; }
    bool ended() const override { return over; }
    asio::awaitable<Result<std::size_t>> read(std::uint64_t offset, std::span<std::byte> buffer, Deadline deadline) override {
        while (offset == data.size() && !over) SBX_CO_CHECK(co_await changed_.wait(deadline));
        co_return copy(offset, buffer);
    }
    asio::awaitable<Result<std::size_t>> read_now(std::uint64_t offset, std::span<std::byte> buffer) override {
        ++reads;
        if (read_fails) co_return Error{Errc::internal, "spool", "read error"};
        co_return copy(offset, buffer);
    }
    void consumed(std::uint64_t offset) override { consumed_to = std::max(consumed_to, offset); }

    std::string data;
    std::uint64_t lost = 0;
    std::uint64_t first = 0;
    std::uint64_t consumed_to = 0;
    bool over = false;
    bool read_fails = false;
    std::size_t reads = 0;
    std::size_t piece = SIZE_MAX;  // at most this much per read

private:
    Result<std::size_t> copy(std::uint64_t offset, std::span<std::byte> buffer) const {
        if (offset < first || offset > data.size()) return Error{Errc::range_not_satisfiable, "output"};
        const std::size_t count = std::min({piece, buffer.size(), data.size() - static_cast<std::size_t>(offset)});
        std::memcpy(buffer.data(), data.data() + offset, count);
        return count;
    }
    Event changed_;
};

class FakeExec final : public engine::Exec {
public:
    FakeExec(asio::any_io_executor executor, std::uint64_t number, engine::ExecRequest asked)
        : request{std::move(asked)}, output{executor}, errors{executor}, id_{exec_id_from_number(number)}, over_{executor},
          stdin_room_{executor} {}

    // The program ends; its output stays open as if a child in the background still held it, unless closed.
    void end(engine::ExecStatus status, std::int32_t code = 0, std::int32_t signal_number = 0) {
        status_ = status;
        code_ = code;
        signal_ = signal_number;
        over_.set();
    }
    void exit(std::int32_t code = 0) {
        output.finish();
        errors.finish();
        end(engine::ExecStatus::exited, code);
    }
    void take_stdin() {
        stdin_full = false;
        stdin_room_.notify();
    }

    const ExecId& id() const override { return id_; }
    engine::ExecStatus status() const override { return status_; }
    std::string command() const override { return request.argv.empty() ? "" : request.argv[0]; }
    std::string user() const override { return request.user.name; }
    std::string cwd() const override { return request.cwd.empty() ? request.user.home : request.cwd; }
    bool pty() const override { return request.pty; }
    WallTime started() const override { return WallTime{} + std::chrono::seconds{1}; }
    std::optional<WallTime> ended() const override {
        if (status_ == engine::ExecStatus::running) return std::nullopt;
        return WallTime{} + std::chrono::seconds{2};
    }
    std::int32_t exit_code() const override { return code_; }
    std::int32_t signal() const override { return signal_; }
    engine::Output& out() override { return output; }
    engine::Output& err() override { return errors; }
    ledger::Usage usage() const override { return figures; }
    policies::Denials denials() const override { return refused; }
    asio::awaitable<Result<void>> wait(Deadline deadline) override { co_return co_await over_.wait(deadline); }
    asio::awaitable<Result<void>> write_stdin(std::string data, Deadline deadline) override {
        if (stdin_error) co_return *stdin_error;
        if (stdin_refused) co_return Error{Errc::unavailable, "stdin", "closed"};
        while (stdin_full) SBX_CO_CHECK(co_await stdin_room_.wait(deadline));
        input += data;
        if (on_input) on_input(*this);
        co_return Result<void>{};
    }
    asio::awaitable<Result<void>> close_stdin(Deadline) override {
        input_closed = true;
        if (on_input) on_input(*this);
        co_return Result<void>{};
    }
    asio::awaitable<Result<void>> resize(std::uint16_t rows, std::uint16_t cols, Deadline) override {
        if (!request.pty) co_return Error{Errc::conflict, "resize", "no terminal"};
        sizes.emplace_back(rows, cols);
        co_return Result<void>{};
    }
    asio::awaitable<Result<void>> send_signal(int number, engine::SignalScope scope, Deadline) override {
        if (signal_error && status_ == engine::ExecStatus::running) co_return *signal_error;
        signals.emplace_back(number, scope);
        if (signal_error) co_return *signal_error;
        if (on_signal) on_signal(*this, number);
        co_return Result<void>{};
    }

    engine::ExecRequest request;
    FakeOutput output;
    FakeOutput errors;
    ledger::Usage figures;
    policies::Denials refused;
    std::string input;
    bool input_closed = false;
    bool stdin_full = false;
    bool stdin_refused = false;
    std::vector<std::pair<int, engine::SignalScope>> signals;
    std::optional<Error> signal_error;
    std::optional<Error> stdin_error;
    std::vector<std::pair<int, int>> sizes;
    std::function<void(FakeExec&)> on_input;
    std::function<void(FakeExec&, int)> on_signal;

private:
    ExecId id_;
    engine::ExecStatus status_ = engine::ExecStatus::running;
    std::int32_t code_ = 0;
    std::int32_t signal_ = 0;
    Latch over_;
    Event stdin_room_;
};

}  // namespace sandboxd::api::testing
