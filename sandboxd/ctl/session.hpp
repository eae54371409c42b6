#pragma once

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "sandboxd/ctl/api_client.hpp"
#include "sandboxd/ctl/target.hpp"

namespace CLI {
class App;
}

namespace sandboxd::ctl {

inline constexpr int kOwnFailure =
    125;  // of run and exec, whose other exit codes are the program's
inline constexpr int kNoCommand = 127;

// One call of the program: what the command line asked for. The verb that was named puts its work
// into `action`, which runs when all of the command line has been understood.
struct Session {
    Wanted wanted;
    bool json = false;
    std::vector<std::string> command;  // behind "--"
    bool has_command = false;
    bool takes_command = false;  // the verb does
    int failure_code = 1;        // when the action fails
    std::function<Result<int>()> action;

    [[nodiscard]] Result<ApiClient> api() const;
};

// A JSON document for --json: indented, one member per line.
void print_json(const nlohmann::json& document);

// Each adds its verbs to the command line.
void add_run(CLI::App& app, Session& session);
void add_exec(CLI::App& app, Session& session);
void add_logs(CLI::App& app, Session& session);  // logs, ps, kill
void add_sandboxes(CLI::App& app,
                   Session& session);  // create, ls, rm, pause, resume, snapshot, fork, template
void add_copy(CLI::App& app, Session& session);
void add_usage(CLI::App& app, Session& session);
void add_admin(CLI::App& app, Session& session);  // key, tenant, cordon, uncordon, drain
void add_doctor(CLI::App& app, Session& session);
void add_attest(CLI::App& app, Session& session);
void add_completion(CLI::App& app, Session& session);  // last: it describes what is there

}  // namespace sandboxd::ctl
