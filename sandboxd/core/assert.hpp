#pragma once

namespace sandboxd {
[[noreturn]] void assertion_failed(const char* expression, const char* file, int line) noexcept;
}

// A broken invariant of ours (never bad input): logged and aborted in every build.
#define SBX_ASSERT(expression) \
    ((expression) ? void(0) : ::sandboxd::assertion_failed(#expression, __FILE__, __LINE__))
