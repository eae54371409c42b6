#include "sandboxd/engine/spill.hpp"

#include <fcntl.h>

#include <algorithm>

#include "sandboxd/core/log.hpp"
#include "sandboxd/core/sys_io.hpp"

namespace sandboxd::engine {

namespace {

constexpr std::uint64_t kStep = 1 << 20;         // a flood gives way to others after as much
constexpr std::size_t kInlineRead = 64 * 1024;   // from the page cache: cheaper than a thread's wake-up
constexpr std::uint64_t kBlock = 4096;           // holes are made of whole ones
constexpr auto kDiskRetry = std::chrono::seconds{1};

}  // namespace

Spill::Spill(asio::any_io_executor executor, IoPools& pools, std::shared_ptr<SpoolBudget> budget)
    : pools_{pools}, budget_{std::move(budget)}, grown_{executor}, changed_{executor} {}

Spill::~Spill() {
    if (!unlinked_) budget_->release(size_ - first_);
}

Result<std::shared_ptr<Spill>> Spill::open(asio::any_io_executor executor, IoPools& pools, std::shared_ptr<SpoolBudget> budget,
                                           int folder, std::string name, SpillSettings settings) {
    std::shared_ptr<Spill> spill{new Spill{std::move(executor), pools, std::move(budget)}};
    SBX_TRY(spill->file_, sys::openat(folder, name.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
    SBX_TRY(const struct stat st, sys::fstat(spill->file_.get()));
    spill->name_ = std::move(name);
    spill->settings_ = settings;
    spill->size_ = static_cast<std::uint64_t>(st.st_size);
    spill->dropped_ = settings.dropped;
    if (settings.mode == OverLimit::block && spill->size_ > 0) {
        // What had been consumed is a hole now: the file itself remembers it.
        SBX_TRY(const auto data, sys::next_data(spill->file_.get(), 0));
        spill->first_ = std::min(data.value_or(spill->size_), spill->size_);
        spill->consumed_ = spill->first_;
    }
    spill->budget_->adopt(spill->size_ - spill->first_);
    return spill;
}

void Spill::attach(SpillSource source) {
    source_ = std::make_shared<const SpillSource>(std::move(source));
    hung_up_ = false;
}

std::uint64_t Spill::room(Cap cap) const {
    if (cap == Cap::beyond && settings_.mode == OverLimit::block) return kStep;
    const std::uint64_t kept = settings_.mode == OverLimit::block ? size_ - consumed_ : size_;
    return settings_.limit > kept ? settings_.limit - kept : 0;
}

// Once a byte was dropped all later ones are: a stream with a gap in it would lie about its offsets.
bool Spill::drops() const {
    return settings_.mode == OverLimit::truncate && (dropped_ > 0 || size_ >= settings_.limit);
}

asio::awaitable<void> Spill::pump() {
    const auto self = shared_from_this();
    // Closed by nobody else: the descriptor must stay open while it is waited for.
    struct Release {
        std::shared_ptr<const SpillSource>& source;
        ~Release() { source.reset(); }
    } release{source_};
    while (!hung_up_) {
        if (busy_ || (!drops() && room(Cap::keep) == 0)) {
            if (auto ok = co_await changed_.wait(Deadline::never()); !ok) co_return;
            continue;
        }
        if (auto ok = co_await wait_fd(source_->wait_on(), Ready::read, Deadline::never()); !ok) co_return;
        if (busy_ || hung_up_) continue;
        Turn done = co_await turn(Cap::keep, kStep);
        if (done.moved.error) {
            co_await wait_for_disk(*done.moved.error);
        } else if (done.full) {
            // The sandbox's spool is full of living streams: look again when one of them may have gone.
            (void)co_await sleep_until(Deadline::after(kDiskRetry));
        }
    }
}

asio::awaitable<Spill::Turn> Spill::turn(Cap cap, std::uint64_t most) {
    const auto self = shared_from_this();
    const auto source = source_;
    const std::uint64_t granted = drops() ? 0 : budget_->reserve(std::min(most, room(cap)));
    const bool drop = granted == 0 && settings_.mode == OverLimit::truncate;
    if (granted == 0 && !drop) co_return Turn{{}, true};
    struct Busy {
        Spill& spill;
        std::uint64_t reserved;
        Busy(Spill& s, std::uint64_t r) : spill{s}, reserved{r} { spill.busy_ = true; }
        ~Busy() {
            spill.budget_->release(reserved);
            spill.busy_ = false;
            spill.changed_.notify();
        }
    } busy{*this, granted};
    // Shared with the pool's thread, which may outlive this coroutine when the process shuts down.
    const auto moved = std::make_shared<SpillSource::Moved>();
    std::function<void()> work = [self, source, moved, granted, most, drop] {
        *moved = drop ? source->move_to_nowhere(most) : source->move_to_file(self->file_.get(), self->size_, granted);
    };
    BlockingPool& pool = source->is_terminal() ? pools_.terminal : pools_.spill;
    co_await pool.run(std::move(work));
    if (drop) {
        dropped_ += moved->bytes;
    } else {
        size_ += moved->bytes;
        busy.reserved = unlinked_ ? granted : granted - moved->bytes;
    }
    if (moved->bytes > 0) disk_full_logged_ = false;
    if (moved->end) hung_up_ = true;
    if (moved->bytes > 0 || moved->end) grown_.notify();
    co_return Turn{*moved, false};
}

asio::awaitable<void> Spill::wait_for_disk(const Error& error) {
    if (!disk_full_logged_) log::error("output can't be stored; its program waits", {{"file", name_}, {"error", error}});
    disk_full_logged_ = true;
    (void)co_await sleep_until(Deadline::after(kDiskRetry));
}

asio::awaitable<void> Spill::settle() {
    const auto self = shared_from_this();
    while (busy_) {
        if (auto ok = co_await changed_.wait(Deadline::never()); !ok) co_return;
    }
    // Not more than was there when the program ended: what others go on writing must not hold its answer back.
    std::uint64_t left = source_ && !hung_up_ ? source_->pending() : 0;
    while (left > 0 && source_ && !hung_up_) {
        if (busy_) {
            if (auto ok = co_await changed_.wait(Deadline::never()); !ok) co_return;
            continue;
        }
        Turn done = co_await turn(Cap::beyond, std::min(left, kStep));
        left -= std::min(left, done.moved.bytes);
        if (done.moved.empty) break;
        if (done.moved.error) {
            co_await wait_for_disk(*done.moved.error);
        } else if (done.full) {
            (void)co_await sleep_until(Deadline::after(kDiskRetry));
        }
    }
    settled_ = true;
    grown_.notify();
}

void Spill::close() {
    hung_up_ = true;
    grown_.notify();
    changed_.notify();
}

asio::awaitable<Result<void>> Spill::until_hung_up() {
    while (!hung_up_) SBX_CO_CHECK(co_await grown_.wait(Deadline::never()));
    co_return Result<void>{};
}

void Spill::unlink(int folder) {
    if (std::exchange(unlinked_, true)) return;
    budget_->release(size_ - first_);
    (void)sys::unlinkat(folder, name_.c_str());  // gone already: that is what was wanted
}

Result<void> Spill::check_offset(std::uint64_t offset) const {
    if (offset >= first_ && offset <= size_) return {};
    return Error{Errc::range_not_satisfiable, "output", "offset " + std::to_string(offset) + " is not kept"}
        .fact("offset", static_cast<std::int64_t>(offset))
        .fact("first_offset", static_cast<std::int64_t>(first_))
        .fact("size", static_cast<std::int64_t>(size_));
}

asio::awaitable<Result<std::size_t>> Spill::read(std::uint64_t offset, std::span<std::byte> buffer, Deadline deadline) {
    const auto self = shared_from_this();
    for (;;) {
        SBX_CO_CHECK(check_offset(offset));
        if (offset < size_) co_return co_await read_now(offset, buffer);
        if (ended()) co_return std::size_t{0};
        SBX_CO_CHECK(co_await grown_.wait(deadline));
    }
}

asio::awaitable<Result<std::size_t>> Spill::read_now(std::uint64_t offset, std::span<std::byte> buffer) {
    SBX_CO_CHECK(check_offset(offset));
    const std::span<std::byte> wanted = buffer.first(static_cast<std::size_t>(std::min<std::uint64_t>(buffer.size(), size_ - offset)));
    if (wanted.size() <= kInlineRead) co_return sys::read_at(file_.get(), wanted, offset);
    const auto self = shared_from_this();
    const auto got = std::make_shared<Result<std::size_t>>(std::size_t{0});
    std::function<void()> work = [self, got, wanted, offset] { *got = sys::read_at(self->file_.get(), wanted, offset); };
    co_await pools_.spill.run(std::move(work));
    co_return *got;
}

void Spill::consumed(std::uint64_t offset) {
    if (settings_.mode != OverLimit::block) return;
    offset = std::min(offset, size_);
    if (offset <= consumed_) return;
    consumed_ = offset;
    const std::uint64_t keep_from = offset / kBlock * kBlock;
    if (keep_from > first_) {
        auto punched = sys::punch_hole(file_.get(), first_, keep_from - first_);
        if (!punched) log::debug("can't give back spool space", {{"file", name_}, {"error", punched.error()}});
        if (!unlinked_) budget_->release(keep_from - first_);
        first_ = keep_from;
    }
    changed_.notify();
}

}  // namespace sandboxd::engine
