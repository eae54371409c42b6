#pragma once

#include <string>

namespace CLI {
class App;
}

namespace sandboxd::ctl {

// Scripts that complete verbs, options and, where a sandbox is expected, the ids that `ls -q`
// prints.
[[nodiscard]] std::string bash_completion(const CLI::App& app);
[[nodiscard]] std::string zsh_completion(const CLI::App& app);
[[nodiscard]] std::string fish_completion(const CLI::App& app);

}  // namespace sandboxd::ctl
