#include "api/code.hpp"

#include <algorithm>
#include <array>
#include <filesystem>
#include <utility>

#include "api/errors.hpp"
#include "api/exec_params.hpp"

namespace sandboxd::api {

namespace {

struct Language {
    std::string_view name;
    std::string_view interpreter;
    std::string_view option;  // before the file; may be empty
    std::string_view file;
};

// -u: output reaches a live reader as it is written, and what a program printed before it was killed is not lost.
constexpr std::array kLanguages{
    Language{"python", "python3", "-u", "main.py"},
    Language{"bash", "bash", "", "main.sh"},
    Language{"javascript", "node", "", "main.mjs"},
};

const Language* find_language(std::string_view name) noexcept {
    const auto found = std::find_if(kLanguages.begin(), kLanguages.end(), [&](const Language& l) { return l.name == name; });
    return found == kLanguages.end() ? nullptr : &*found;
}

// Whether one of the files is, or is below, `name` in the home directory, however its path spells that.
bool taken(const std::vector<engine::FileToWrite>& files, const std::string& name) {
    const std::filesystem::path home{engine::User{}.home};
    const std::string ours = (home / name).string();
    return std::any_of(files.begin(), files.end(), [&](const engine::FileToWrite& file) {
        const std::string path = (home / file.path).lexically_normal().string();
        return path == ours || path.starts_with(ours + "/");
    });
}

}  // namespace

Result<CodeProgram> code_program(std::string_view language, std::string code, std::vector<engine::FileToWrite> files) {
    if (language == "sql") {
        return Error{Errc::incompatible, "language sql", "needs the SQL interpreter, which this version does not have; "
                                                         "use python with the sqlite3 module"}
            .fact("field", "language");
    }
    const Language* known = find_language(language);
    if (!known) return field_error("language", "python, bash, javascript or sql", language);
    std::string name{known->file};
    while (taken(files, name)) name.insert(0, "_");
    CodeProgram program;
    program.argv.emplace_back(known->interpreter);
    if (!known->option.empty()) program.argv.emplace_back(known->option);
    program.argv.push_back(name);
    program.files = std::move(files);
    engine::FileToWrite file;
    file.path = std::move(name);
    file.content = std::move(code);
    program.files.push_back(std::move(file));
    return program;
}

Error explain_start(Error error, std::string_view language) {
    const Language* known = find_language(language);
    if (!known || !error.is(Errc::command_not_found)) return error;
    return Error{Errc::command_not_found, std::string{language},
                 "the template has no " + std::string{known->interpreter} + ": use a template that has it"}
        .fact("command", std::string{known->interpreter});
}

}  // namespace sandboxd::api
