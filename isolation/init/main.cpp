// sandbox-init: PID 1 of one jail. Started by the monitor with a set-up socket as descriptor 3; becomes the jail, says
// so, and serves it.
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "isolation/init/agent.hpp"
#include "isolation/init/jail_state.hpp"
#include "isolation/init/kernel.hpp"

namespace {

using namespace sandboxd;

void say(const char* text) { (void)!::write(2, text, ::strlen(text)); }

}  // namespace

int main(int argc, char** argv) {
    if (argc > 1 && ::strcmp(argv[1], "--print-stages") == 0) {
        init::print_stages();
        return 0;
    }
    if (argc > 1 && ::strcmp(argv[1], "--version") == 0) {
        (void)!::write(1, SANDBOXD_VERSION "\n", sizeof SANDBOXD_VERSION);
        return 0;
    }
    if (::getpid() != 1) {
        say("sandbox-init is PID 1 of a sandbox; sandboxd starts it\n");
        return 2;
    }
    static init::JailState jail;
    isolation::SetupReport report;
    report.stage = init::set_up(jail);
    report.error = report.stage == isolation::Stage::ready ? 0 : errno;
    report.walls = jail.walls;
    std::byte buffer[32];
    wire::Writer writer{buffer, sizeof buffer};
    const bool told = writer(report) && init::send_with_fds(isolation::kSetupSocket, buffer, writer.size(), nullptr, 0, 0);
    ::close(isolation::kSetupSocket);
    if (!told || report.error != 0) return 1;
    init::run_agent(jail);
}
