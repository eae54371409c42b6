#include <unistd.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "sandboxd/ctl/answer.hpp"
#include "sandboxd/ctl/console.hpp"
#include "sandboxd/ctl/doctor/examine.hpp"
#include "sandboxd/ctl/session.hpp"

namespace sandboxd::ctl {

namespace {

using doctor::Check;
using doctor::Checks;
using doctor::Severity;
using nlohmann::json;

Check refused(std::string name, const Error& error) {
    return {std::move(name), Severity::warn, error.message(), ""};
}

// What the daemon's own self-test saw. Its signature is `sandboxctl attest`'s to check.
Check examine_walls(ApiClient& api) {
    Request request;
    request.path = "/v1/attest";
    request.patience = std::chrono::seconds{60};
    auto answer = api.call(request);
    if (!answer && answer.error().is(Errc::unauthorized))
        return {"daemon.walls", Severity::skipped, answer.error().message(), ""};
    if (!answer)
        return {"daemon.walls", Severity::warn, answer.error().message(),
                "the daemon's log says why; sandboxctl attest --fresh tries again"};
    const json payload = json::parse(text_of(*answer, "payload"), nullptr, false);
    if (text_of(payload, "verdict") == "holds")
        return {"daemon.walls", Severity::ok, "all that are needed hold, tested " + text_of(payload, "tested_at"), ""};
    std::string broken;
    const json walls = payload.is_object() ? payload.value("walls", json::array()) : json::array();
    for (const json& wall : walls) {
        if (wall.value("required", true) && text_of(wall, "status") != "holds")
            broken += ' ' + text_of(wall, "name");
    }
    return {"daemon.walls", Severity::fail, "do not hold:" + broken,
            "sandboxctl attest shows what was seen, docs/security.md what each wall needs"};
}

// A daemon that does not answer is no fault of the host's: it may not be started yet.
Checks examine_daemon(const Session& session) {
    auto target = resolve_target(session.wanted);
    if (!target) return {refused("daemon.address", target.error())};
    const std::string at = to_string(target->address);
    ApiClient api{*std::move(target)};
    Request request;
    request.path = "/readyz";
    request.patience = std::chrono::seconds{5};
    auto ready = api.call(request);
    // A daemon that answers says why with facts; one that does not has none.
    if (!ready && ready.error().is(Errc::unavailable) && ready.error().facts().empty()) {
        return {{"daemon.ready", Severity::info, ready.error().message(), ""}};
    }
    if (!ready) {
        return {{"daemon.ready", Severity::warn, ready.error().message(),
                 "sandboxctl uncordon, or look at daemon.walls and at the daemon's log"},
                examine_walls(api)};
    }
    Checks checks{{"daemon.ready", Severity::ok, at, ""}};
    checks.push_back(examine_walls(api));
    request.path = "/v1/admin/node";
    auto node = api.call(request);
    if (!node) {
        // Not every key may ask; that is as it should be.
        checks.push_back({"daemon.node", Severity::skipped, node.error().message(), ""});
        return checks;
    }
    const std::string pool = text_of(*node, "pool_kind");
    const bool tmpfs = pool == "tmpfs";
    checks.push_back(
        {"daemon.pool", tmpfs ? Severity::warn : Severity::ok, pool,
         tmpfs ? "disks of sandboxes are in memory: the storage checks above say what btrfs lacks"
               : ""});
    const auto stuck = number_of(*node, "removals_stuck");
    checks.push_back(
        {"daemon.removals", stuck > 0 ? Severity::warn : Severity::ok,
         std::to_string(stuck) + " stuck",
         stuck > 0 ? "a process in the kernel does not end: look for state D in ps" : ""});
    return checks;
}

Colour colour_of(Severity severity) {
    switch (severity) {
        case Severity::ok:
            return Colour::green;
        case Severity::info:
            return Colour::none;
        case Severity::skipped:
            return Colour::dim;
        case Severity::warn:
            return Colour::yellow;
        case Severity::fail:
            return Colour::red;
    }
    return Colour::none;
}

json json_of(const Checks& checks) {
    json list = json::array();
    for (const Check& check : checks) {
        list.push_back({{"name", check.name},
                        {"severity", to_string(check.severity)},
                        {"finding", check.finding},
                        {"cure", check.cure}});
    }
    return {{"checks", std::move(list)}, {"fit", worst(checks) != Severity::fail}};
}

// Not a table: findings are sentences, and a terminal would break the columns.
std::string text_of_checks(const Checks& checks, Palette palette, bool all) {
    std::string out;
    std::size_t hidden = 0;
    for (const Check& check : checks) {
        if (!all && check.severity == Severity::ok) {
            ++hidden;
            continue;
        }
        std::string severity{to_string(check.severity)};
        severity.resize(8, ' ');
        out += paint(severity, colour_of(check.severity), palette) + printable(check.name) + ": " +
               printable(check.finding) + '\n';
        if (!check.cure.empty())
            out += "        " + paint("-> " + printable(check.cure), Colour::dim, palette) + '\n';
    }
    if (hidden > 0)
        out += paint("ok      ", Colour::green, palette) + std::to_string(hidden) +
               " other checks (--all shows them)\n";
    return out;
}

Result<int> examine(const Session& session, bool all) {
    const std::string state_dir = session.wanted.state_dir.value_or(std::string{kDefaultStateDir});
    Checks checks = doctor::examine(doctor::Host{"", doctor::live_probes()}, state_dir);
    for (Check& check : examine_daemon(session)) checks.push_back(std::move(check));
    if (session.json) {
        print_json(json_of(checks));
    } else {
        print(text_of_checks(checks, palette_of(STDOUT_FILENO), all));
    }
    return worst(checks) == Severity::fail ? 1 : 0;
}

}  // namespace

void add_doctor(CLI::App& app, Session& session) {
    CLI::App& verb =
        *app.add_subcommand("doctor", "Check whether this machine is fit to run sandboxd");
    auto all = std::make_shared<bool>(false);
    verb.add_flag("-a,--all", *all, "show what is in order too");
    verb.footer(
        "Changes nothing. As root it can look at everything. The exit code is 1 when sandboxd "
        "can't run here.\n\n"
        "Example: sandboxctl doctor");
    verb.callback(
        [all, &session] { session.action = [all, &session] { return examine(session, *all); }; });
}

}  // namespace sandboxd::ctl
