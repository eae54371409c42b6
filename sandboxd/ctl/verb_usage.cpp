#include <unistd.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "sandboxd/ctl/answer.hpp"
#include "sandboxd/ctl/console.hpp"
#include "sandboxd/ctl/session.hpp"
#include "sandboxd/ctl/units.hpp"

namespace sandboxd::ctl {

namespace {

using nlohmann::json;

struct UsageOptions {
    std::string from = "30d";
    std::string to;
    std::string by = "sandbox";
    std::string sandbox;
};

// Pages of rows and the total, which every page has.
Result<json> fetch(ApiClient& api, const std::string& path) {
    json all;
    std::string cursor;
    while (true) {
        SBX_TRY(json page,
                api.get(cursor.empty() ? path : path + "&cursor=" + percent_encode(cursor)));
        if (!page.is_object() || !page.contains("rows") || !page["rows"].is_array()) {
            return Error{Errc::protocol_error, "the answer to /v1/usage", "has no list \"rows\""};
        }
        const std::string next = text_of(page, "next_cursor");
        page.erase("next_cursor");
        if (all.is_null()) {
            all = std::move(page);
        } else {
            for (json& row : page["rows"]) all["rows"].push_back(std::move(row));
        }
        if (next.empty() || next == cursor) return all;
        cursor = next;
    }
}

// The figures of a row stand in it, or in its member "usage".
const json& figures_of(const json& row) {
    return row.contains("usage") ? row["usage"] : row;
}

std::string label_of(const json& row, const std::string& by) {
    std::string label;
    const auto append = [&](const char* name) {
        const std::string part = text_of(row, name);
        if (!part.empty()) label += (label.empty() ? "" : " ") + part;
    };
    if (by == "exec") append("sandbox");
    append(by.c_str());
    if (label.empty()) append("key");
    return label;
}

std::vector<Cell> cells_of(std::string label, const json& figures) {
    return {{std::move(label)},
            {format_ms(number_of(figures, "wall_ms"))},
            {format_ms(number_of(figures, "cpu_ms"))},
            {format_bytes(number_of(figures, "memory_peak_bytes"))},
            {format_bytes((number_of(figures, "memory_mib_ms") << 20) / 1000) + "·s"},
            {format_bytes(number_of(figures, "egress_bytes"))},
            {describe_cost(figures)}};
}

Result<int> usage(const Session& session, const UsageOptions& options) {
    const WallTime now = system_clock().wall();
    SBX_TRY(const WallTime from, parse_moment(options.from, now));
    WallTime to = now;
    if (!options.to.empty()) {
        SBX_TRY(to, parse_moment(options.to, now));
    }
    std::string path = "/v1/usage?from=" + percent_encode(to_rfc3339(from)) +
                       "&to=" + percent_encode(to_rfc3339(to)) +
                       "&group_by=" + percent_encode(options.by);
    if (!options.sandbox.empty()) path += "&sandbox=" + percent_encode(options.sandbox);
    SBX_TRY(ApiClient api, session.api());
    SBX_TRY(const json answer, fetch(api, path));
    if (session.json) {
        print_json(answer);
        return 0;
    }
    std::string title = options.by;
    for (char& c : title) c = static_cast<char>(c & ~0x20);
    Table table{{{title},
                 {"WALL", Align::right},
                 {"CPU", Align::right},
                 {"PEAK", Align::right},
                 {"MEMORY", Align::right},
                 {"SENT", Align::right},
                 {"COST", Align::right}}};
    for (const json& row : answer["rows"])
        table.add(cells_of(label_of(row, options.by), figures_of(row)));
    if (answer.contains("total")) table.add(cells_of("total", figures_of(answer["total"])));
    print(table.text(palette_of(STDOUT_FILENO)));
    return 0;
}

}  // namespace

void add_usage(CLI::App& app, Session& session) {
    CLI::App& verb = *app.add_subcommand("usage", "What was used, and what it cost");
    auto options = std::make_shared<UsageOptions>();
    verb.add_option("--from", options->from,
                    "since when: a date, RFC 3339, or a span before now such as 24h (default: 30d)")
        ->type_name("TIME");
    verb.add_option("--to", options->to, "until when (default: now)")->type_name("TIME");
    verb.add_option("--by", options->by,
                    "one row for each tenant, sandbox, exec or day (default: sandbox)")
        ->type_name("WHAT")
        ->check(CLI::IsMember({"tenant", "sandbox", "exec", "day"}));
    verb.add_option("--sandbox", options->sandbox, "only of this sandbox")->type_name("ID");
    verb.footer(
        "MEMORY is memory over time. Times are UTC.\n\nExample: sandboxctl usage --from 2026-01-01 "
        "--by day");
    verb.callback([options, &session] {
        session.action = [options, &session] { return usage(session, *options); };
    });
}

}  // namespace sandboxd::ctl
