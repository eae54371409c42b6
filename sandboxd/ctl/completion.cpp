#include "sandboxd/ctl/completion.hpp"

#include <CLI/CLI.hpp>
#include <functional>

namespace sandboxd::ctl {

namespace {

std::vector<const CLI::App*> verbs_of(const CLI::App& app) {
    return app.get_subcommands(std::function<bool(const CLI::App*)>{});
}

std::vector<const CLI::Option*> options_of(const CLI::App& app) {
    std::vector<const CLI::Option*> options;
    for (const CLI::Option* option : app.get_options(std::function<bool(const CLI::Option*)>{})) {
        if (!option->get_lnames().empty() || !option->get_snames().empty())
            options.push_back(option);
    }
    return options;
}

// "ls rm …" of what stands below, and "--json -q …".
std::string words_of(const CLI::App& app) {
    std::string words;
    for (const CLI::App* verb : verbs_of(app)) words += verb->get_name() + ' ';
    for (const CLI::Option* option : options_of(app)) {
        for (const std::string& name : option->get_lnames()) words += "--" + name + ' ';
        for (const std::string& name : option->get_snames()) words += '-' + name + ' ';
    }
    if (!words.empty()) words.pop_back();
    return words;
}

bool takes_sandbox(const CLI::App& verb) {
    const CLI::Option* id = verb.get_option_no_throw("id");
    return (id && verb.get_parent() && verb.get_parent()->get_name() != "key") ||
           verb.get_name() == "cp";
}

// A verb and those below it, with the words in front: ("key create", app).
void each_verb(const CLI::App& app, const std::string& above,
               const std::function<void(const std::string&, const CLI::App&)>& visit) {
    for (const CLI::App* verb : verbs_of(app)) {
        const std::string path = above.empty() ? verb->get_name() : above + ' ' + verb->get_name();
        visit(path, *verb);
        each_verb(*verb, path, visit);
    }
}

// In single quotes.
std::string quoted(const std::string& text) {
    std::string out = "'";
    for (const char c : text) out += c == '\'' ? std::string{"'\\''"} : std::string{c};
    return out + "'";
}

// bash and zsh share the finding of the verb: the first two words that are no options.
std::string cases_of(const CLI::App& app, const std::string& assign, const std::string& ids) {
    std::string cases;
    each_verb(app, "", [&](const std::string& path, const CLI::App& verb) {
        cases += "        " + quoted(path) + ") " + assign + quoted(words_of(verb));
        if (takes_sandbox(verb)) cases += "; " + ids;
        cases += " ;;\n";
    });
    return cases;
}

std::string groups_of(const CLI::App& app) {
    std::string groups;
    for (const CLI::App* verb : verbs_of(app)) {
        if (!verbs_of(*verb).empty()) groups += (groups.empty() ? "" : "|") + verb->get_name();
    }
    return groups;
}

}  // namespace

std::string bash_completion(const CLI::App& app) {
    const std::string globals = words_of(app);
    return R"SH(# bash completion for sandboxctl
_sandboxctl() {
    local current="${COMP_WORDS[COMP_CWORD]}" verb="" ids="" words="" i
    for ((i = 1; i < COMP_CWORD; i++)); do
        case "${COMP_WORDS[i]}" in
        -*) ;;
        )SH" +
           groups_of(app) + R"SH() [ -n "$verb" ] || { verb="${COMP_WORDS[i]}"; continue; } ;;
        esac
        case "$verb:${COMP_WORDS[i]}" in
        *:-*) ;;
        :*) verb="${COMP_WORDS[i]}"; break ;;
        *) verb="$verb ${COMP_WORDS[i]}"; break ;;
        esac
    done
    case "$verb" in
        '') words=)SH" +
           quoted(globals) + " ;;\n" + cases_of(app, "words=", "ids=1") + R"SH(    esac
    [[ "$current" == -* || -z "$ids" ]] || words="$words $(sandboxctl ls -q 2>/dev/null)"
    COMPREPLY=($(compgen -W "$words" -- "$current"))
    [ -n "${COMPREPLY[0]}" ] || compopt -o default
}
complete -F _sandboxctl sandboxctl
)SH";
}

std::string zsh_completion(const CLI::App& app) {
    const std::string globals = words_of(app);
    return R"SH(#compdef sandboxctl
_sandboxctl() {
    local verb="" ids="" all="" word
    for word in "${(@)words[2,CURRENT-1]}"; do
        [[ "$word" == -* ]] && continue
        if [[ -z "$verb" && "$word" == ()SH" +
           groups_of(app) + R"SH() ]]; then verb="$word"; continue; fi
        if [[ -z "$verb" ]]; then verb="$word"; else verb="$verb $word"; fi
        break
    done
    case "$verb" in
        '') all=)SH" +
           quoted(globals) + " ;;\n" + cases_of(app, "all=", "ids=1") + R"SH(    esac
    [[ -z "$ids" || "$PREFIX" == -* ]] || compadd -- ${(f)"$(sandboxctl ls -q 2>/dev/null)"}
    compadd -- ${=all}
    [[ "$PREFIX" == -* ]] || _files
}
if [ "$funcstack[1]" = "_sandboxctl" ]; then _sandboxctl "$@"; else compdef _sandboxctl sandboxctl; fi
)SH";
}

std::string fish_completion(const CLI::App& app) {
    std::string out = "# fish completion for sandboxctl\n";
    const auto option_lines = [&](const CLI::App& of, const std::string& condition) {
        for (const CLI::Option* option : options_of(of)) {
            out += "complete -c sandboxctl" + condition;
            for (const std::string& name : option->get_snames()) out += " -s " + name;
            for (const std::string& name : option->get_lnames()) out += " -l " + name;
            if (option->get_items_expected_min() > 0) out += " -r";
            out += " -d " + quoted(option->get_description()) + '\n';
        }
    };
    option_lines(app, "");
    each_verb(app, "", [&](const std::string& path, const CLI::App& verb) {
        const std::size_t blank = path.rfind(' ');
        const std::string condition = blank == std::string::npos
                                          ? "__fish_use_subcommand"
                                          : "__fish_seen_subcommand_from " + path.substr(0, blank);
        out += "complete -c sandboxctl -f -n " + quoted(condition) + " -a " + verb.get_name() +
               " -d " + quoted(verb.get_description()) + '\n';
        // A sub-verb's options go with its group: fish knows words, not their order.
        const std::string seen = "__fish_seen_subcommand_from " + path.substr(0, path.find(' '));
        option_lines(verb, " -n " + quoted(seen));
        if (takes_sandbox(verb))
            out += "complete -c sandboxctl -n " + quoted(seen) +
                   " -a '(sandboxctl ls -q 2>/dev/null)'\n";
    });
    return out;
}

}  // namespace sandboxd::ctl
