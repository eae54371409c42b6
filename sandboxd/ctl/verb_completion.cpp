#include <CLI/CLI.hpp>

#include "sandboxd/ctl/completion.hpp"
#include "sandboxd/ctl/console.hpp"
#include "sandboxd/ctl/session.hpp"

namespace sandboxd::ctl {

void add_completion(CLI::App& app, Session& session) {
    CLI::App& verb = *app.add_subcommand("completion", "Print a shell's completion script");
    auto shell = std::make_shared<std::string>();
    verb.add_option("shell", *shell, "bash, zsh or fish")
        ->type_name("SHELL")
        ->required()
        ->check(CLI::IsMember({"bash", "zsh", "fish"}));
    verb.footer(
        "Example: sandboxctl completion bash > /etc/bash_completion.d/sandboxctl\n"
        "         sandboxctl completion zsh > \"${fpath[1]}/_sandboxctl\"\n"
        "         sandboxctl completion fish > ~/.config/fish/completions/sandboxctl.fish");
    verb.callback([shell, &app, &session] {
        session.action = [shell, &app]() -> Result<int> {
            print(*shell == "bash"  ? bash_completion(app)
                  : *shell == "zsh" ? zsh_completion(app)
                                    : fish_completion(app));
            return 0;
        };
    });
}

}  // namespace sandboxd::ctl
