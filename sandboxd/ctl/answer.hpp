#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "sandboxd/core/result.hpp"

namespace sandboxd::ctl {

// What the answers of the API say, for people. Members that are missing or of another type read as
// nothing: a newer daemon's answer is still shown.
[[nodiscard]] std::string text_of(const nlohmann::json& object, std::string_view name);
[[nodiscard]] std::uint64_t number_of(const nlohmann::json& object, std::string_view name);

// "0.000123 USD · wall 1.02 s · cpu 35 ms · memory peak 24.1 MiB · prices default@1"
[[nodiscard]] std::string describe_usage(const nlohmann::json& usage);
// "0.000123 USD"; "-" without a cost.
[[nodiscard]] std::string describe_cost(const nlohmann::json& usage);

// The exit code of an exec's answer or exit event. kOwnFailure when it has none: the program was
// lost.
[[nodiscard]] int exit_code_of(const nlohmann::json& answer);
// Why the program was ended, when it did not end by itself: what its own output can't say.
[[nodiscard]] std::optional<std::string> ended_by(const nlohmann::json& answer);
// What of the output was dropped, for a note on standard error.
[[nodiscard]] std::optional<std::string> dropped_output(const nlohmann::json& truncated_event);

}  // namespace sandboxd::ctl
