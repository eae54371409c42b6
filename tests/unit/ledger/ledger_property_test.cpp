#include <catch2/catch.hpp>
#include <random>

#include "naive_ledger.hpp"
#include "sandboxd/ledger/figures.hpp"
#include "temp_dir.hpp"

namespace sandboxd::ledger {

bool operator==(const UsageRow& a, const UsageRow& b) {
    return a.tenant == b.tenant && a.sandbox == b.sandbox && a.exec == b.exec && a.day == b.day &&
           a.usage == b.usage;
}

std::ostream& operator<<(std::ostream& out, const UsageRow& row) {
    const Counters& c = row.usage.counters;
    return out << row.tenant << " " << row.sandbox << " " << row.exec << " " << row.day << " wall "
               << c.wall_ns << " cpu " << c.cpu_ns << " peak " << c.memory_peak_bytes << " memory "
               << c.memory_kib_ms << " disk " << c.disk_bytes << " " << c.disk_kib_ms << " egress "
               << c.egress_bytes << " gpu " << c.gpu_ns << " cost " << row.usage.cost << " "
               << row.usage.price_book;
}

namespace {

using namespace std::chrono_literals;

constexpr std::array kGroups{GroupBy::tenant, GroupBy::sandbox, GroupBy::exec, GroupBy::day};

policies::PriceBook odd_prices() {
    policies::PriceBook book;
    // Primes, so that rounding happens everywhere.
    book.cpu_second = 13'100'003;
    book.memory_gib_second = 4'500'007;
    book.wall_second = 101;
    book.disk_gib_second = 31'337;
    book.egress_gib = 90'000'000'019;
    book.gpu_second = 583'000'013;
    return book;
}

// A world of sandboxes with execs that use things, are sampled now and then, end, and whose ids
// come back.
class World {
public:
    explicit World(unsigned seed) : random_{seed} {}

    // A batch as the sampler makes it: execs before their sandbox. Now and then a row is repeated.
    std::vector<Sample> next_batch() {
        now_ += std::chrono::nanoseconds{below(4) == 0 ? below(20'000'000'000'000)
                                                       : below(3'000'000'000)};
        std::vector<Sample> out;
        for (int i = 0; i < 3; ++i) sample(boxes_[below(boxes_.size())], out);
        return out;
    }

    std::uint64_t below(std::uint64_t end) {
        return std::uniform_int_distribution<std::uint64_t>{0, end - 1}(random_);
    }
    [[nodiscard]] WallTime start() const { return kStart; }
    [[nodiscard]] WallTime now() const { return now_; }
    WallTime some_time() {
        const auto span = static_cast<std::uint64_t>((now_ - kStart).count()) + 7'200'000'000'000;
        const WallTime exact = kStart - 1h + std::chrono::nanoseconds{below(span)};
        switch (below(4)) {
            case 0:
                return std::chrono::floor<std::chrono::days>(exact);
            case 1:
                return std::chrono::floor<std::chrono::hours>(exact);
            // The very time of a row: the bound belongs to the later period.
            case 2:
                return times_.empty() ? exact : times_[below(times_.size())];
            default:
                return exact;
        }
    }

private:
    struct Exec {
        std::uint64_t number = 0;
        Counters used;
    };
    struct Box {
        std::string id;
        std::string tenant;
        Counters used;
        std::vector<Exec> running;
        std::uint64_t execs = 0;
    };

    static constexpr WallTime kStart =
        std::chrono::sys_days{std::chrono::year{2026} / 1 / 30} + 22h;

    void use(Counters& exec, Counters& box) {
        const std::uint64_t cpu = below(2'000'000'000);
        const std::uint64_t memory = below(1 << 20) * 1000;
        const std::uint64_t egress = below(3) == 0 ? below(1 << 30) : 0;
        exec.wall_ns += 1 + below(3'000'000'000);
        for (Counters* c : {&exec, &box}) {
            c->cpu_ns += cpu;
            c->memory_kib_ms += memory;
            c->egress_bytes += egress;
            c->gpu_ns += cpu / 3;
            c->memory_peak_bytes = std::max(c->memory_peak_bytes, memory);
        }
    }

    void put(const Box& box, std::uint64_t exec, const Counters& used, bool final,
             std::vector<Sample>& out) {
        // The wall clock is sometimes set back.
        const WallTime time =
            below(20) == 0 ? now_ - std::chrono::nanoseconds{below(5'000'000'000'000)} : now_;
        times_.push_back(time);
        out.push_back(
            {SandboxId::trusted(box.id), TenantId::trusted(box.tenant), exec, time, used, final});
        if (below(10) == 0) out.push_back(out.back());
    }

    void sample(Box& box, std::vector<Sample>& out) {
        if (below(2) == 0 && box.running.size() < 4) box.running.push_back({++box.execs, {}});
        std::vector<Exec> still;
        for (Exec& exec : box.running) {
            use(exec.used, box.used);
            const bool ends = below(4) == 0;
            // An exec may be read a little later than its sandbox, and seem to have used more.
            Counters seen = exec.used;
            if (below(5) == 0) seen.cpu_ns += below(1000);
            exec.used.cpu_ns = seen.cpu_ns;
            put(box, exec.number, seen, ends, out);
            if (!ends) still.push_back(exec);
        }
        box.running = std::move(still);
        if (below(4) == 0) return;  // execs alone: the sandbox's row comes later
        box.used.wall_ns += 1'000'000'000 + below(1000);
        box.used.cpu_ns += below(1000);
        box.used.disk_bytes = below(1 << 30);
        box.used.disk_kib_ms += box.used.disk_bytes >> 10;
        const bool ends = box.running.empty() && below(6) == 0;
        put(box, 0, box.used, ends, out);
        // An id that a caller chose is used again, perhaps by another tenant. It begins below what
        // it ended with.
        if (ends) box = Box{box.id, below(2) == 0 ? "acme" : "globex", {}, {}, 0};
    }

    std::mt19937 random_;
    WallTime now_ = kStart;
    std::vector<WallTime> times_;
    std::vector<Box> boxes_{{"sandbox0001", "acme", {}, {}, 0},
                            {"sandbox0002", "acme", {}, {}, 0},
                            {"sandbox0003", "globex", {}, {}, 0},
                            {"sandbox0004", "initech", {}, {}, 0}};
};

UsagePage all_pages(Ledger& ledger, UsageQuery query) {
    UsagePage out;
    do {
        auto page = ledger.query(query);
        REQUIRE(page);
        REQUIRE(page->rows.size() <= query.limit);
        out.total = page->total;
        for (UsageRow& row : page->rows) out.rows.push_back(std::move(row));
        query.cursor = page->next_cursor;
    } while (!query.cursor.empty());
    return out;
}

UsageQuery random_query(World& world) {
    UsageQuery query;
    query.from = world.some_time();
    query.to = world.some_time();
    if (query.to < query.from) std::swap(query.from, query.to);
    if (world.below(3) == 0)
        query.tenant = TenantId::trusted(world.below(2) == 0 ? "acme" : "globex");
    if (world.below(3) == 0)
        query.sandbox = SandboxId::trusted("sandbox000" + std::to_string(1 + world.below(4)));
    query.limit = 1 + world.below(40);
    return query;
}

// The groupings of one period all add up to one total.
void check_sums(Ledger& ledger, UsageQuery query, const Usage& total) {
    for (const GroupBy group : kGroups) {
        query.group_by = group;
        const UsagePage page = all_pages(ledger, query);
        CHECK(page.total == total);
        Counters sum;
        policies::PicoMoney cost = 0;
        for (const UsageRow& row : page.rows) {
            const Counters& c = row.usage.counters;
            REQUIRE(row.usage.cost >= 0);
            if (group != GroupBy::exec) sum.wall_ns += c.wall_ns;
            sum.cpu_ns += c.cpu_ns;
            sum.memory_peak_bytes = std::max(sum.memory_peak_bytes, c.memory_peak_bytes);
            sum.memory_kib_ms += c.memory_kib_ms;
            if (group != GroupBy::day) sum.disk_bytes += c.disk_bytes;
            sum.disk_kib_ms += c.disk_kib_ms;
            sum.egress_bytes += c.egress_bytes;
            sum.gpu_ns += c.gpu_ns;
            cost += row.usage.cost;
        }
        if (group == GroupBy::exec) sum.wall_ns = total.counters.wall_ns;  // execs overlap
        if (group == GroupBy::day)
            sum.disk_bytes = total.counters.disk_bytes;  // a last value, day by day
        CHECK(sum == total.counters);
        CHECK(cost == total.cost);
    }
}

void compare(Ledger& ledger, const NaiveLedger& model, UsageQuery query) {
    for (const GroupBy group : kGroups) {
        query.group_by = group;
        INFO("group " << static_cast<int>(group) << " from " << nanos(query.from) << " to "
                      << nanos(query.to));
        const UsagePage expected = model.query(query);
        const UsagePage page = all_pages(ledger, query);
        REQUIRE(page.rows == expected.rows);
        REQUIRE(page.total == expected.total);
    }
}

// Appends, restarts and compacts at random, and compares answers with the model's all along.
void compare_with_model(unsigned seed) {
    INFO("seed " << seed);
    const TempDir dir;
    World world{seed};
    const NodeIdentity node{0, 0, 1, 1};
    NaiveLedger model{odd_prices()};
    auto database = Database::open(dir.file("state.db"));
    REQUIRE(database);
    auto ledger = Ledger::open(**database, node, odd_prices());
    REQUIRE(ledger);
    for (int step = 0; step < 120; ++step) {
        const auto batch = world.next_batch();
        REQUIRE((*ledger)->append(batch));
        for (const Sample& sample : batch) model.append(sample);
        if (world.below(15) == 0) REQUIRE((*ledger)->compact(world.some_time()));
        if (world.below(15) == 0) {
            ledger->reset();
            database = Database::open(dir.file("state.db"));
            REQUIRE(database);
            ledger = Ledger::open(**database, node, odd_prices());
            REQUIRE(ledger);
        }
        if (step % 4 == 0) compare(**ledger, model, random_query(world));
    }
    UsageQuery whole;
    whole.from = world.start() - 24h;
    whole.to = world.now() + 1h;
    compare(**ledger, model, whole);
    check_sums(**ledger, whole, model.query(whole).total);
    REQUIRE((*ledger)->compact(world.now() + 24h));
    compare(**ledger, model, whole);
    for (int i = 0; i < 30; ++i) {
        const UsageQuery query = random_query(world);
        compare(**ledger, model, query);
        check_sums(**ledger, query, model.query(query).total);
    }
}

TEST_CASE(
    "whatever is appended, restarted and compacted, answers are those of a list of all rows") {
    for (unsigned seed = 1; seed <= 3; ++seed) compare_with_model(seed);
}

TEST_CASE("the same for many more worlds", "[.soak]") {
    for (unsigned seed = 100; seed < 250; ++seed) compare_with_model(seed);
}

TEST_CASE("periods that meet add up to the period over them, to the last pico-dollar") {
    World world{77};
    auto database = Database::open(":memory:");
    REQUIRE(database);
    auto ledger = Ledger::open(**database, {}, odd_prices());
    REQUIRE(ledger);
    for (int step = 0; step < 150; ++step) REQUIRE((*ledger)->append(world.next_batch()));
    REQUIRE((*ledger)->compact(world.some_time()));
    for (int i = 0; i < 40; ++i) {
        std::array<WallTime, 3> bounds{world.some_time(), world.some_time(), world.some_time()};
        std::sort(bounds.begin(), bounds.end());
        const auto used = [&](WallTime from, WallTime to) {
            UsageQuery query;
            query.from = from;
            query.to = to;
            auto page = (*ledger)->query(query);
            REQUIRE(page);
            return page->total;
        };
        const Usage first = used(bounds[0], bounds[1]);
        const Usage second = used(bounds[1], bounds[2]);
        const Usage both = used(bounds[0], bounds[2]);
        CHECK(first.cost + second.cost == both.cost);
        CHECK(first.counters.cpu_ns + second.counters.cpu_ns == both.counters.cpu_ns);
        CHECK(first.counters.wall_ns + second.counters.wall_ns == both.counters.wall_ns);
        CHECK(first.counters.memory_kib_ms + second.counters.memory_kib_ms ==
              both.counters.memory_kib_ms);
        CHECK(first.counters.egress_bytes + second.counters.egress_bytes ==
              both.counters.egress_bytes);
    }
}

}  // namespace
}  // namespace sandboxd::ledger
