#include "api/exec_stdin.hpp"

#include <nlohmann/json.hpp>
#include <utility>

#include "api/exec_answer.hpp"

namespace sandboxd::api {

asio::awaitable<Result<void>> StdinQueue::until_end(asio::awaitable<Result<void>> work) {
    auto end = end_.wait(Deadline::never());
    auto either = race(std::move(work), std::move(end));
    Raced raced = co_await std::move(either);
    co_return std::move(raced.result);
}

asio::awaitable<Result<void>> StdinQueue::wait_for_work() {
    while (data_.empty() && !closing_) SBX_CO_CHECK(co_await changed_.wait(Deadline::never()));
    co_return Result<void>{};
}

asio::awaitable<Result<void>> StdinQueue::wait_for_room(std::size_t size) {
    // One message of any size has to fit, or it would wait for ever.
    while (bytes_ != 0 && bytes_ + size > kMax) SBX_CO_CHECK(co_await changed_.wait(Deadline::never()));
    co_return Result<void>{};
}

asio::awaitable<Result<void>> StdinQueue::push(std::string data) {
    if (data.empty() || closing_ || refused_) co_return Result<void>{};
    SBX_CO_CHECK(co_await until_end(wait_for_room(data.size())));
    bytes_ += data.size();
    data_.push_back(std::move(data));
    changed_.notify();
    co_return Result<void>{};
}

void StdinQueue::close() {
    closing_ = true;
    changed_.notify();
}

asio::awaitable<Result<void>> StdinQueue::deliver(engine::Exec& exec) {
    if (data_.empty()) co_return co_await exec.close_stdin(Deadline::never());
    std::string data = std::move(data_.front());
    data_.pop_front();
    const std::size_t size = data.size();
    auto written = co_await until_end(exec.write_stdin(std::move(data), Deadline::never()));
    bytes_ -= size;
    changed_.notify();
    co_return std::move(written);
}

asio::awaitable<Result<void>> StdinQueue::drain(engine::Exec& exec, EventSink& sink) {
    while (!end_.is_set()) {
        SBX_CO_CHECK(co_await until_end(wait_for_work()));
        if (end_.is_set()) break;
        const bool last = data_.empty();  // only the close is left
        auto delivered = co_await deliver(exec);
        if (!delivered) {
            refused_ = true;
            bytes_ = 0;
            data_.clear();
            changed_.notify();
            // A program that has ended needs no complaint: its exit event is on the way.
            if (!end_.is_set() && exec.status() == engine::ExecStatus::running) {
                nlohmann::json event = error_event(std::move(delivered).error().with("stdin"));
                SBX_CO_CHECK(co_await sink.send(std::move(event)));
            }
        }
        if (last || refused_) break;
    }
    co_return Result<void>{};
}

}  // namespace sandboxd::api
