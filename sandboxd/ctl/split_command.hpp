#pragma once

#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace sandboxd::ctl {

struct SplitLine {
    std::vector<std::string> words;    // for the parser
    std::vector<std::string> command;  // for the sandbox, untouched
    bool has_command = false;
};

// Cuts off what the parser must not look into: what stands behind "--", and in `exec ID PROGRAM …`
// the program and all behind it, so that `exec ID ls -la` needs no "--".
[[nodiscard]] SplitLine split_command(const CLI::App& app, std::vector<std::string> words);

}  // namespace sandboxd::ctl
