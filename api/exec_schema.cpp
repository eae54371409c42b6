#include "api/exec_schema.hpp"

#include <array>
#include <cstddef>
#include <utility>

#include "api/json.hpp"
#include "api/sandbox_ref.hpp"

namespace sandboxd::api {

namespace {

template <std::size_t... Sizes>
constexpr auto join(const std::array<Field, Sizes>&... parts) {
    std::array<Field, (Sizes + ...)> joined{};
    std::size_t at = 0;
    const auto append = [&](const auto& part) {
        for (const Field& field : part) joined[at++] = field;
    };
    (append(parts), ...);
    return joined;
}

constexpr double kTextMax = 32.0 * (1 << 20);  // the body's own limit is the real one
constexpr double kPathMax = 4095;
constexpr double kMsMax = 9e15;

constexpr std::array<std::string_view, 2> kJsonEncodings{"text", "base64"};
constexpr std::array<std::string_view, 3> kSocketEncodings{"text", "base64", "binary"};
constexpr std::array<std::string_view, 2> kLimitWays{"truncate", "block"};
constexpr std::array<std::string_view, 4> kLanguages{"python", "bash", "javascript", "sql"};
constexpr std::array<std::string_view, 3> kScopes{"process", "group", "tree"};
constexpr std::array<std::string_view, 3> kStreams{"stdout", "stderr", "pty"};

constexpr std::array kProgram{
    Field{.name = "argv", .type = Type::string_array, .description = "The program and its arguments; exactly one of argv and shell.",
          .min = 1, .max = 4096},
    Field{.name = "shell", .description = "A command line for `bash -c`; exactly one of argv and shell.", .min = 1, .max = kTextMax},
    Field{.name = "cwd", .description = "The working directory.", .min = 1, .max = kPathMax, .default_text = "the user's home"},
    Field{.name = "env", .type = Type::string_map, .description = "Variables over the sandbox's and the defaults.", .max = 1024},
    Field{.name = "user", .description = "user, root, UID or UID:GID.", .min = 1, .max = 64, .default_text = "user"},
    Field{.name = "stdin", .type = Type::any,
          .description = R"(Text or {"base64": text} for the program's standard input, which is closed behind it; without it stdin is empty. Over the WebSocket: what stdin begins with.)"},
    Field{.name = "timeout_ms", .type = Type::integer, .description = "Wall-clock limit, kept by the sandbox itself. 0: the tenant's ceiling.",
          .min = 0, .max = kMsMax, .default_text = "60000; 0 with detach"},
    Field{.name = "pty", .type = Type::boolean, .description = "Give the program a terminal; its output is then one stream.",
          .default_text = "false"},
    Field{.name = "rows", .type = Type::integer, .description = "Of the terminal.", .min = 1, .max = 65535, .default_text = "24"},
    Field{.name = "cols", .type = Type::integer, .description = "Of the terminal.", .min = 1, .max = 65535, .default_text = "80"},
    Field{.name = "output_mb", .type = Type::integer, .description = "Cap of each output stream in MiB.", .min = 1, .max = 1 << 20,
          .default_text = "the sandbox's"},
    Field{.name = "on_output_limit", .description = "At the cap: drop what comes after it, or make the program wait for its reader.",
          .values = kLimitWays, .default_text = "truncate"},
};

constexpr std::array kJsonEncoding{
    Field{.name = "encoding", .description = "Of output in the answer. text: UTF-8, what is not becomes U+FFFD.", .values = kJsonEncodings,
          .default_text = "text"},
};
constexpr std::array kSocketEncoding{
    Field{.name = "encoding",
          .description = "Of output. binary: frames of 1 byte stream (1 stdout, 2 stderr, 3 pty), 8 bytes big-endian offset, bytes.",
          .values = kSocketEncodings, .default_text = "text"},
};
constexpr std::array kAcks{
    Field{.name = "acks", .type = Type::boolean,
          .description = "With on_output_limit block: only ack messages count as consumption, not what was sent.", .default_text = "false"},
};
constexpr std::array kType{Field{.name = "type", .required = true, .description = "Which message this is."}};

constexpr auto kExecFields = join(kProgram, kJsonEncoding, std::array{
    Field{.name = "detach", .type = Type::boolean, .description = "Answer 202 at once and let the program run on its own.",
          .default_text = "false"},
});

constexpr auto kStartFields = join(kType, kProgram, kSocketEncoding, kAcks, std::array{
    Field{.name = "kill_on_disconnect", .type = Type::boolean,
          .description = "Kill the program when this connection ends; without it the program goes on and can be attached to.",
          .default_text = "false"},
});

constexpr auto kAttachFields = join(kType, kSocketEncoding, kAcks, std::array{
    Field{.name = "exec_id", .required = true, .description = "The exec to attach to.", .min = 1, .max = 64},
    Field{.name = "stdout_offset", .type = Type::integer, .description = "Where to go on; of the terminal with a pty.", .min = 0, .max = kMsMax,
          .default_text = "the oldest byte that is kept"},
    Field{.name = "stderr_offset", .type = Type::integer, .description = "Where to go on.", .min = 0, .max = kMsMax,
          .default_text = "the oldest byte that is kept"},
});

constexpr auto kStdinFields = join(kType, kJsonEncoding, std::array{
    Field{.name = "data", .required = true, .description = "For the program's stdin.", .max = kTextMax},
});
constexpr auto kResizeFields = join(kType, std::array{
    Field{.name = "rows", .type = Type::integer, .required = true, .description = "Of the terminal.", .min = 1, .max = 65535},
    Field{.name = "cols", .type = Type::integer, .required = true, .description = "Of the terminal.", .min = 1, .max = 65535},
});
constexpr auto kSignalFields = join(kType, std::array{
    Field{.name = "signal", .required = true, .description = "TERM, KILL, INT, … or a number.", .min = 1, .max = 16},
    Field{.name = "scope", .description = "The program, its process group, or all its processes.", .values = kScopes, .default_text = "tree"},
});
constexpr auto kAckFields = join(kType, std::array{
    Field{.name = "stream", .required = true, .description = "Which output.", .values = kStreams},
    Field{.name = "offset", .type = Type::integer, .required = true, .description = "Everything below it is consumed.", .min = 0, .max = kMsMax},
});

constexpr Schema kStdinSchema{"ExecStdinMessage", kStdinFields};
constexpr Schema kStdinCloseSchema{"ExecStdinCloseMessage", kType};
constexpr Schema kResizeSchema{"ExecResizeMessage", kResizeFields};
constexpr Schema kSignalSchema{"ExecSignalMessage", kSignalFields};
constexpr Schema kAckSchema{"ExecAckMessage", kAckFields};

constexpr std::array kErrorFields{
    Field{.name = "name", .required = true, .description = "ExitCode, Signal, Timeout, OutOfMemory, OutputLimit or Lost."},
    Field{.name = "message", .required = true, .description = "What happened, and what to change."},
};
constexpr Schema kProgramErrorSchema{"ProgramError", kErrorFields};

constexpr std::array<std::string_view, 8> kDenialKinds{"syscall", "mount", "device", "memory", "pids", "disk", "file_limit", "output_cap"};

constexpr std::array kDenialFields{
    Field{.name = "kind", .required = true, .description = "What class of thing was refused.", .values = kDenialKinds},
    Field{.name = "what", .required = true, .description = "What was asked for: a system call with the arguments that matter, or what there was no room for."},
    Field{.name = "rule", .required = true, .description = "What refused it: seccomp:PROFILE or the limit with its value."},
    Field{.name = "hint", .required = true, .description = "The field that allows it, or why nothing does."},
    Field{.name = "count", .type = Type::integer, .required = true, .description = "How often; with output_cap: bytes.", .min = 1},
};
constexpr Schema kDenialSchema{"Denial", kDenialFields};

constexpr std::array kAnswerFields{
    Field{.name = "sandbox_id", .required = true, .description = "Where it ran."},
    Field{.name = "exec_id", .required = true, .description = "Its id in that sandbox."},
    Field{.name = "status", .required = true, .description = "running, exited, signaled, oom_killed, timed_out, limit or lost."},
    Field{.name = "exit_code", .type = Type::integer, .description = "128 + signal when a signal ended it; null while it runs."},
    Field{.name = "signal", .type = Type::integer, .description = "The signal that ended it, if one did."},
    Field{.name = "stdout", .description = "At most 8 MiB; see stdout_truncated."},
    Field{.name = "stderr", .description = "At most 8 MiB; see stderr_truncated."},
    Field{.name = "stdout_bytes", .type = Type::integer, .description = "What the program wrote to it."},
    Field{.name = "stderr_bytes", .type = Type::integer, .description = "What the program wrote to it."},
    Field{.name = "stdout_truncated", .type = Type::boolean, .description = "stdout here is less than what was written."},
    Field{.name = "stderr_truncated", .type = Type::boolean, .description = "stderr here is less than what was written."},
    Field{.name = "stdout_path", .description = "Where all kept bytes can be read, when stdout here was cut."},
    Field{.name = "stderr_path", .description = "Where all kept bytes can be read, when stderr here was cut."},
    Field{.name = "results", .type = Type::any, .description = "Rich results of code in a context; empty for a program."},
    Field{.name = "denials", .type = Type::object_array, .required = true,
          .description = "What was refused to the program and to what it started; at most 32 system calls are told apart. While it runs: "
                         "system calls only, counted up to the last new kind.",
          .max = 40, .object = &kDenialSchema},
    Field{.name = "denials_unlisted", .type = Type::integer, .description = "Refused system calls beyond the list; absent when there are none."},
    Field{.name = "error", .type = Type::object, .description = "Present when the program failed.", .object = &kProgramErrorSchema},
    Field{.name = "usage", .type = Type::any, .required = true, .description = "Metered figures and cost."},
};

constexpr auto kRunFields = join(std::array{
    Field{.name = "language", .required = true, .description = "What the code is written in.", .values = kLanguages},
    Field{.name = "code", .required = true, .description = "The program's text.", .max = kTextMax},
    Field{.name = "files", .type = Type::file_map,
          .description = R"(Files to write before it runs: path, relative to the home directory, to text or {"base64": text}.)", .max = 1024},
    Field{.name = "template", .description = "What the sandbox is made from.", .min = 1, .max = 128, .default_text = "host"},
    Field{.name = "env", .type = Type::string_map, .description = "Variables of the program.", .max = 1024},
    Field{.name = "timeout_ms", .type = Type::integer, .description = "Wall-clock limit of the program. 0: the tenant's ceiling.", .min = 0,
          .max = kMsMax, .default_text = "60000"},
    Field{.name = "limits", .type = Type::object, .description = "Of the sandbox.", .object = &kLimitsSchema},
    kProfileField,
    Field{.name = "network", .type = Type::any, .description = R"(What the sandbox can reach: "none".)", .default_text = "none"},
    Field{.name = "stdin", .type = Type::any, .description = R"(Text or {"base64": text} for the program's standard input.)"},
}, kJsonEncoding);

constexpr std::array kListFields{
    Field{.name = "execs", .type = Type::object_array, .required = true, .description = "Oldest first, without their output.",
          .object = &kExecAnswerSchema},
    Field{.name = "next_cursor", .description = "For the next page; absent on the last one."},
};

}  // namespace

constexpr Schema kExecSchema{"ExecRequest", kExecFields};
constexpr Schema kStartSchema{"ExecStartMessage", kStartFields};
constexpr Schema kAttachSchema{"ExecAttachMessage", kAttachFields};
constexpr Schema kRunSchema{"RunRequest", kRunFields};
constexpr Schema kExecAnswerSchema{"ExecAnswer", kAnswerFields, true};
constexpr Schema kExecListSchema{"ExecList", kListFields, true};

const Schema* message_schema(std::string_view type) noexcept {
    if (type == "stdin") return &kStdinSchema;
    if (type == "stdin_close") return &kStdinCloseSchema;
    if (type == "resize") return &kResizeSchema;
    if (type == "signal") return &kSignalSchema;
    if (type == "ack") return &kAckSchema;
    return nullptr;
}

}  // namespace sandboxd::api
