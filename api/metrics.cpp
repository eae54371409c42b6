#include "api/metrics.hpp"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <array>
#include <sstream>
#include <utility>
#include <vector>

#include "api/process_figures.hpp"
#include "sandboxd/version.hpp"

namespace sandboxd::api {

namespace {

using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<std::pair<std::string, std::string>>;

const prometheus::Histogram::BucketBoundaries& request_buckets() {
    static const prometheus::Histogram::BucketBoundaries buckets{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600};
    return buckets;
}

// A sandbox is promised in tens of milliseconds: there the steps are small.
const prometheus::Histogram::BucketBoundaries& create_buckets() {
    static const prometheus::Histogram::BucketBoundaries buckets{0.002, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1,
                                                                 0.2,   0.5,   1,      2,    5,     10,   30};
    return buckets;
}

// The method is the client's word: one that HTTP does not know must not make a series.
std::string_view method_label(std::string_view method) {
    constexpr std::array<std::string_view, 7> kKnown{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"};
    return std::find(kKnown.begin(), kKnown.end(), method) != kKnown.end() ? method : "other";
}

// Figures that are kept elsewhere: read once for a text, never stored, so that one that is not known is not there.
class Snapshot {
public:
    explicit Snapshot(std::vector<MetricFamily> counted) : families_{std::move(counted)} {}

    void gauge(std::string name, std::string help, double value, const Labels& labels = {}) {
        add(std::move(name), std::move(help), MetricType::Gauge, labels).gauge.value = value;
    }
    void counter(std::string name, std::string help, double value, const Labels& labels = {}) {
        add(std::move(name), std::move(help), MetricType::Counter, labels).counter.value = value;
    }
    [[nodiscard]] std::string text() const {
        std::ostringstream out;
        prometheus::TextSerializer{}.Serialize(out, families_);
        return out.str();
    }

private:
    // Rows of one family come one after the other.
    prometheus::ClientMetric& add(std::string name, std::string help, MetricType type, const Labels& labels) {
        if (families_.empty() || families_.back().name != name) {
            MetricFamily family;
            family.name = std::move(name);
            family.help = std::move(help);
            family.type = type;
            families_.push_back(std::move(family));
        }
        prometheus::ClientMetric metric;
        for (const auto& [label, value] : labels) metric.label.push_back({label, value});
        return families_.back().metric.emplace_back(std::move(metric));
    }
    std::vector<MetricFamily> families_;
};

double number(std::uint64_t value) { return static_cast<double>(value); }

void add_engine(Snapshot& out, const engine::EngineStats& stats) {
    out.gauge("sandboxd_sandboxes", "Living sandboxes.", number(stats.sandboxes));
    out.gauge("sandboxd_execs_running", "Programs that run.", number(stats.execs_running));
    out.counter("sandboxd_sandbox_creates_total", "Sandboxes made since this process began.", number(stats.creates_total));
    out.counter("sandboxd_sandbox_create_failures_total", "Sandboxes that could not be made.", number(stats.create_failures_total));
    out.counter("sandboxd_execs_total", "Programs started since this process began.", number(stats.execs_total));
    out.counter("sandboxd_ledger_rows_total", "Rows written to the usage journal since this process began.", number(stats.ledger_rows_total));
    out.gauge("sandboxd_spool_bytes", "Output of programs that is kept on disk.", number(stats.spool_bytes));
    for (const auto& [reason, count] : stats.refusals_total) {
        out.counter("sandboxd_refusals_total", "Sandboxes that admission refused.", number(count), {{"reason", reason}});
    }
}

void add_node(Snapshot& out, const std::optional<control::NodeStatus>& status) {
    out.gauge("sandboxd_node_up", "1 when the monitor answered.", status ? 1 : 0);
    if (!status) return;
    out.gauge("sandboxd_node_cpus", "Cores of the machine.", number(status->cpus));
    out.gauge("sandboxd_node_memory_total_bytes", "Memory of the machine.", number(status->memory_total_bytes));
    out.gauge("sandboxd_node_memory_available_bytes", "Memory that is available, as the kernel estimates it.", number(status->memory_available_bytes));
    out.gauge("sandboxd_node_pool_total_bytes", "Size of the place where the disks of sandboxes are.", number(status->pool_total_bytes),
              {{"kind", status->pool_kind}});
    out.gauge("sandboxd_node_pool_free_bytes", "What is free of it.", number(status->pool_free_bytes), {{"kind", status->pool_kind}});
    out.gauge("sandboxd_node_sandboxes", "Sandboxes of the node, as the monitor counts them.", number(status->sandboxes));
    out.gauge("sandboxd_node_sandboxes_max", "Sandboxes that the node can have at one time.", number(status->sandboxes_max));
    out.gauge("sandboxd_node_removals_pending", "Ended sandboxes that are not yet cleared away.", number(status->removals_pending));
    out.gauge("sandboxd_node_removals_stuck", "Those that the kernel has not let go for a minute.", number(status->removals_stuck));
}

void add_process(Snapshot& out, const ProcessFigures& figures) {
    if (figures.resident_bytes) out.gauge("process_resident_memory_bytes", "Resident memory of sandboxd-api.", number(*figures.resident_bytes));
    if (figures.cpu_seconds) out.counter("process_cpu_seconds_total", "CPU time of sandboxd-api.", *figures.cpu_seconds);
    if (figures.start_unix_seconds) out.gauge("process_start_time_seconds", "When sandboxd-api began, as Unix time.", *figures.start_unix_seconds);
    if (figures.open_fds) out.gauge("process_open_fds", "Open descriptors of sandboxd-api.", number(*figures.open_fds));
    if (figures.max_fds) out.gauge("process_max_fds", "The most that it may have.", number(*figures.max_fds));
}

}  // namespace

struct Metrics::Impl {
    prometheus::Registry registry;
    prometheus::Family<prometheus::Counter>& requests =
        prometheus::BuildCounter().Name("sandboxd_http_requests_total").Help("Answers, by method, route and status.").Register(registry);
    prometheus::Family<prometheus::Histogram>& latencies = prometheus::BuildHistogram()
                                                               .Name("sandboxd_http_request_seconds")
                                                               .Help("From the request's head to the end of the answer.")
                                                               .Register(registry);
    prometheus::Counter& opened = prometheus::BuildCounter()
                                      .Name("sandboxd_http_connections_total")
                                      .Help("Connections that were accepted.")
                                      .Register(registry)
                                      .Add({});
    prometheus::Counter& refused = prometheus::BuildCounter()
                                       .Name("sandboxd_http_connections_refused_total")
                                       .Help("Connections that were closed because there were too many.")
                                       .Register(registry)
                                       .Add({});
    prometheus::Gauge& open = prometheus::BuildGauge().Name("sandboxd_http_connections").Help("Open connections.").Register(registry).Add({});
    prometheus::Histogram& creates = prometheus::BuildHistogram()
                                         .Name("sandboxd_sandbox_create_seconds")
                                         .Help("From the request for a sandbox until it is ready.")
                                         .Register(registry)
                                         .Add({}, create_buckets());
};

Metrics::Metrics() : impl_{std::make_unique<Impl>()} {}
Metrics::~Metrics() = default;

void Metrics::request(std::string_view method, std::string_view pattern, unsigned status, double seconds) {
    const std::string name{method_label(method)};
    const std::string route{pattern.empty() ? "none" : pattern};
    impl_->requests.Add({{"method", name}, {"route", route}, {"status", std::to_string(status)}}).Increment();
    impl_->latencies.Add({{"method", name}, {"route", route}}, request_buckets()).Observe(seconds);
}

void Metrics::connection_opened() {
    impl_->opened.Increment();
    impl_->open.Increment();
}

void Metrics::connection_closed() { impl_->open.Decrement(); }

void Metrics::connection_refused() { impl_->refused.Increment(); }

std::string Metrics::text(const engine::EngineStats& stats, const std::optional<control::NodeStatus>& status, bool ready) {
    for (const double seconds : stats.create_seconds) impl_->creates.Observe(seconds);
    std::vector<MetricFamily> counted = impl_->registry.Collect();
    // A family without rows is a name without a meaning yet.
    std::erase_if(counted, [](const MetricFamily& family) { return family.metric.empty(); });
    Snapshot out{std::move(counted)};
    out.gauge("sandboxd_build_info", "1, with the version as a label.", 1, {{"version", std::string{kVersionText}}});
    out.gauge("sandboxd_ready", "1 when new sandboxes are taken.", ready ? 1 : 0);
    add_engine(out, stats);
    add_node(out, status);
    add_process(out, process_figures());
    return out.text();
}

}  // namespace sandboxd::api
