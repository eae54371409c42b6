#include <CLI/CLI.hpp>
#include <catch2/catch.hpp>

#include "sandboxd/ctl/completion.hpp"
#include "sandboxd/ctl/session.hpp"
#include "sandboxd/ctl/split_command.hpp"

using namespace sandboxd::ctl;
using Words = std::vector<std::string>;

namespace {

struct Line {
    Line() {
        app.name("sandboxctl");
        app.add_option("--url", session.wanted.url);
        app.add_flag("--json", session.json);
        add_exec(app, session);
        add_sandboxes(app, session);
        add_admin(app, session);
    }
    CLI::App app;
    Session session;
};

SplitLine split(Words words) {
    return split_command(Line{}.app, std::move(words));
}

}  // namespace

TEST_CASE("what stands behind -- is the command, untouched") {
    const SplitLine line = split({"exec", "-it", "box00001", "--", "ls", "--json", "--"});
    CHECK(line.words == Words{"exec", "-it", "box00001"});
    CHECK(line.command == Words{"ls", "--json", "--"});
    CHECK(line.has_command);
    CHECK(split({"exec", "box00001", "--"}).has_command);
    CHECK(split({"exec", "box00001", "--"}).command.empty());
}

TEST_CASE("exec's command begins behind the sandbox, whatever options stand in front") {
    CHECK(split({"exec", "box00001", "ls", "-la"}).command == Words{"ls", "-la"});
    CHECK(split({"--url", "http://x", "exec", "-w", "/tmp", "box00001", "ls", "-t"}).command ==
          Words{"ls", "-t"});
    CHECK(split({"exec", "box00001", "-itw", "/tmp", "ls"}).command == Words{"ls"});
    CHECK(split({"exec", "-w/tmp", "--env=A=1", "-e", "B", "box00001", "--json", "ls"}).command ==
          Words{"ls"});
    CHECK(split({"exec", "-w/tmp", "--env=A=1", "-e", "B", "box00001", "--json", "ls"}).words ==
          Words{"exec", "-w/tmp", "--env=A=1", "-e", "B", "box00001", "--json"});
    CHECK_FALSE(split({"exec", "box00001"}).has_command);
    CHECK_FALSE(split({"exec", "--shell", "a b", "box00001"}).has_command);
}

TEST_CASE("other verbs keep all their words") {
    CHECK(split({"rm", "a", "b", "c"}).words == Words{"rm", "a", "b", "c"});
    CHECK_FALSE(split({"rm", "exec", "b", "c"}).has_command);
}

TEST_CASE("completion knows every verb and option, and where a sandbox is expected") {
    const Line line;
    for (const std::string& script : {bash_completion(line.app), zsh_completion(line.app)}) {
        CHECK(script.find("'key create') ") != std::string::npos);
        CHECK(script.find("key|tenant") != std::string::npos);
        const std::size_t at = script.find("'exec') ");
        REQUIRE(at != std::string::npos);
        const std::string exec = script.substr(at, script.find('\n', at) - at);
        CHECK(exec.find("--workdir -w") != std::string::npos);
        CHECK(exec.find("ids=1") != std::string::npos);
        const std::size_t create = script.find("'create') ");
        CHECK(script.substr(create, script.find('\n', create) - create).find("ids=1") ==
              std::string::npos);
    }
    const std::string fish = fish_completion(line.app);
    CHECK(fish.find("-n '__fish_use_subcommand' -a exec -d 'Run a program in a sandbox'") !=
          std::string::npos);
    CHECK(fish.find("-n '__fish_seen_subcommand_from key' -a create") != std::string::npos);
    CHECK(fish.find("-n '__fish_seen_subcommand_from rm' -a '(sandboxctl ls -q 2>/dev/null)'") !=
          std::string::npos);
}
