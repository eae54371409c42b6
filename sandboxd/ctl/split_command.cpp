#include "sandboxd/ctl/split_command.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>

namespace sandboxd::ctl {

namespace {

const CLI::Option* find_option(const CLI::App* verb, const CLI::App& app, const std::string& name) {
    const CLI::Option* option = verb ? verb->get_option_no_throw(name) : nullptr;
    return option ? option : app.get_option_no_throw(name);
}

// The option's value is the next word.
bool value_follows(const CLI::App* verb, const CLI::App& app, const std::string& word) {
    const auto takes_value = [&](const std::string& name) {
        const CLI::Option* option = find_option(verb, app, name);
        return option && option->get_items_expected_min() > 0;
    };
    if (word.starts_with("--")) return word.find('=') == std::string::npos && takes_value(word);
    // Letters in one word: the first that takes a value takes the rest of it, if there is a rest.
    for (std::size_t i = 1; i < word.size(); ++i) {
        if (takes_value({'-', word[i]})) return i + 1 == word.size();
    }
    return false;
}

}  // namespace

SplitLine split_command(const CLI::App& app, std::vector<std::string> words) {
    SplitLine line;
    const CLI::App* verb = nullptr;
    std::size_t named = 0;  // words that are no options: the verb, exec's sandbox
    std::size_t cut = words.size();
    for (std::size_t i = 0; i < words.size(); ++i) {
        const std::string& word = words[i];
        if (word == "--") {
            cut = i;
            line.has_command = true;
            line.command.assign(words.begin() + static_cast<std::ptrdiff_t>(i) + 1, words.end());
            break;
        }
        if (word.size() > 1 && word[0] == '-') {
            if (value_follows(verb, app, word)) ++i;
            continue;
        }
        if (++named == 1) {
            if (word == "exec")
                verb = app.get_subcommands(
                              [](const CLI::App* each) { return each->get_name() == "exec"; })
                           .at(0);
        } else if (verb && named == 3) {
            cut = i;
            line.has_command = true;
            line.command.assign(words.begin() + static_cast<std::ptrdiff_t>(i), words.end());
            break;
        }
    }
    words.resize(std::min(cut, words.size()));
    line.words = std::move(words);
    return line;
}

}  // namespace sandboxd::ctl
