#include <array>
#include <sstream>
#include <string>

#include "sandboxd/ctl/doctor/examine.hpp"

namespace sandboxd::ctl::doctor {

namespace {

// What the kernel loads for anybody who asks for a socket, a tunnel or a file system, and that
// exploits of 2025 and 2026 began with.
constexpr std::array kDoors{"algif_aead", "algif_skcipher",
                            "algif_hash", "algif_rng",
                            "af_alg",     "esp4",
                            "esp6",       "espintcp",
                            "rxrpc",      "sctp",
                            "rds",        "tipc",
                            "vsock",      "vmw_vsock_virtio_transport",
                            "af_key",     "act_pedit",
                            "cifs",       "n_gsm",
                            "nfc",        "can",
                            "ax25",       "appletalk",
                            "x25",        "dccp",
                            "smc",        "qrtr",
                            "pppoe",      "l2tp_ip"};
// The same, as /proc/net/protocols names what is in the kernel now.
constexpr std::array kProtocols{"ALG",     "RXRPC", "SCTP", "RDS",     "TIPC", "AF_VSOCK", "KEY",
                                "CAN_RAW", "NFC",   "SMC",  "QIPCRTR", "AX25", "X25"};

bool is_closed(const std::string& rules, const std::string& module) {
    // "install NAME /bin/false" keeps the kernel from loading it; a blacklist line does so for
    // requests by alias, which is how sockets ask.
    return rules.find("install " + module + ' ') != std::string::npos ||
           rules.find("blacklist " + module + '\n') != std::string::npos;
}

std::string read_rules(const Host& host) {
    std::string rules;
    for (const char* folder : {"/usr/lib/modprobe.d", "/lib/modprobe.d", "/etc/modprobe.d"}) {
        for (const std::string& name : host.list(folder))
            rules += host.read(std::string{folder} + '/' + name).value_or("") + '\n';
    }
    return rules;
}

Check check_modules(const Host& host) {
    if (host.number("/proc/sys/kernel/modules_disabled").value_or(0) == 1)
        return {"kernel.modules", Severity::ok, "no more can be loaded", ""};
    // The program that the kernel calls to load one: without it nothing is loaded on request.
    const auto helper = host.read("/proc/sys/kernel/modprobe");
    if (helper && helper->empty())
        return {"kernel.modules", Severity::ok, "the kernel loads none by itself", ""};
    const std::string rules = read_rules(host);
    std::string open;
    for (const char* module : kDoors) {
        if (!host.has_loadable_module(module) || is_closed(rules, module)) continue;
        open += (open.empty() ? "" : " ") + std::string{module};
    }
    if (open.empty())
        return {"kernel.modules", Severity::ok,
                "none of those that exploits begin with can be loaded", ""};
    return {"kernel.modules", Severity::warn,
            "can be loaded by a socket(2) of anybody outside of sandboxes: " + open,
            "echo 'install NAME /bin/false' >> /etc/modprobe.d/sandboxd.conf for each that nothing "
            "here needs"};
}

Check check_protocols(const Host& host) {
    const auto table = host.read("/proc/net/protocols");
    if (!table) return {"kernel.protocols", Severity::skipped, "could not be read", ""};
    std::istringstream lines{*table};
    std::string there;
    for (std::string line; std::getline(lines, line);) {
        const std::string name = line.substr(0, line.find(' '));
        for (const char* door : kProtocols) {
            if (name == door) there += (there.empty() ? "" : " ") + name;
        }
    }
    if (there.empty())
        return {"kernel.protocols", Severity::ok, "none of those that exploits begin with", ""};
    return {"kernel.protocols", Severity::info,
            "in the kernel now: " + there +
                "; sandboxes are refused them, other programs of this host are not",
            ""};
}

}  // namespace

void check_modules(const Host& host, Checks& checks) {
    checks.push_back(check_modules(host));
    checks.push_back(check_protocols(host));
}

}  // namespace sandboxd::ctl::doctor
