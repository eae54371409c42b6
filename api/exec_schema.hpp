#pragma once

#include "api/schema.hpp"

// The JSON objects of execs and runs: what is checked and what the OpenAPI document says.
namespace sandboxd::api {

extern const Schema kExecSchema;         // POST …/exec
extern const Schema kStartSchema;        // first message of the exec WebSocket
extern const Schema kAttachSchema;       // or this one
extern const Schema kRunSchema;          // POST /v1/run
extern const Schema kExecAnswerSchema;   // of exec, run and GET …/exec/{exec_id}
extern const Schema kExecListSchema;

// A client's message on the exec WebSocket, by its "type"; null for a type that does not exist.
[[nodiscard]] const Schema* message_schema(std::string_view type) noexcept;

}  // namespace sandboxd::api
