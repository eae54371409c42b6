#include "isolation/probe/finding.hpp"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

namespace sandboxd::probe {

namespace {

// Appends "what, what"; what does not fit is cut, and shows that it is.
void append(char* text, const char* format, va_list arguments) {
    char piece[isolation::kMaxObserved + 1];
    (void)::vsnprintf(piece, sizeof piece, format, arguments);
    for (char* c = piece; *c != '\0'; ++c) {
        if (*c < ' ' || *c > '~') *c = '?';
    }
    const std::size_t used = ::strlen(text);
    const std::size_t room = isolation::kMaxObserved + 1 - used;
    const int wanted = ::snprintf(text + used, room, "%s%s", used == 0 ? "" : ", ", piece);
    if (wanted >= 0 && static_cast<std::size_t>(wanted) >= room) ::memcpy(text + isolation::kMaxObserved - 3, "...", 3);
}

const char* name_of(int error) {
    const char* name = ::strerrorname_np(error);
    return name == nullptr ? "an unknown errno" : name;
}

}  // namespace

void Finding::attempt(const char* what, long result, std::initializer_list<int> refusals) {
    const int error = errno;
    if (result >= 0) return bad("%s got through", what);
    for (const int refusal : refusals) {
        if (error == refusal) return good("%s %s", what, name_of(error));
    }
    bad("%s reached the kernel (%s)", what, name_of(error));
}

void Finding::expect(bool fine, const char* what) {
    if (fine) {
        good("%s", what);
    } else {
        bad("not so: %s", what);
    }
}

void Finding::good(const char* format, ...) {
    va_list arguments;
    va_start(arguments, format);
    append(good_, format, arguments);
    va_end(arguments);
}

void Finding::bad(const char* format, ...) {
    status_ = WallStatus::broken;
    va_list arguments;
    va_start(arguments, format);
    append(bad_, format, arguments);
    va_end(arguments);
}

void Finding::absent(const char* why) {
    status_ = WallStatus::absent;
    good("%s", why);
}

int in_child(int (*work)()) {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(work());
    int status = -1;
    while (child > 0 && ::waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    return child > 0 ? status : -1;
}

}  // namespace sandboxd::probe
