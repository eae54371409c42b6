// sandboxctl: the command line for people.
#include <exception>

#include "sandboxd/ctl/command_line.hpp"
#include "sandboxd/ctl/console.hpp"

int main(int argc, char** argv) try {
    return sandboxd::ctl::run_command_line(argc, argv);
} catch (const std::exception& e) {
    sandboxd::ctl::note(e.what());
    return 1;
}
