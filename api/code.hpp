#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "sandboxd/core/result.hpp"
#include "sandboxd/engine/exec.hpp"

namespace sandboxd::api {

// Code as a program: what to write into the working directory and what to start.
struct CodeProgram {
    std::vector<std::string> argv;
    std::vector<engine::FileToWrite> files;  // the caller's and the code
};

// The code stands in a file, so that tracebacks name one and imports find what was uploaded beside it. Its name gives
// way to an uploaded file of that name. incompatible for a language that needs an interpreter of our own;
// invalid_argument for one that is not known.
[[nodiscard]] Result<CodeProgram> code_program(std::string_view language, std::string code, std::vector<engine::FileToWrite> files);

// What a failed start means for code: a template without the language's interpreter says so.
[[nodiscard]] Error explain_start(Error error, std::string_view language);

}  // namespace sandboxd::api
