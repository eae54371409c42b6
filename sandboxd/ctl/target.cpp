#include "sandboxd/ctl/target.hpp"

#include "sandboxd/core/sys.hpp"

namespace sandboxd::ctl {

namespace {

struct Key {
    std::string text;
    std::string note;
};

Key key_of_file(const std::string& path) {
    auto text = sys::read_file(path, 4096);
    if (!text) return {"", text.error().message()};
    const std::string_view blanks = " \t\r\n";
    const std::size_t first = text->find_first_not_of(blanks);
    if (first == std::string::npos) return {"", path + " is empty"};
    return {text->substr(first, text->find_last_not_of(blanks) - first + 1), ""};
}

Result<void> check_key(const std::string& key) {
    // It becomes a header's value; nothing else may come along with it.
    for (const char c : key) {
        if (c <= 0x20 || c >= 0x7f)
            return Error{Errc::invalid_argument, "key",
                         "an API key has no blanks and no line ends in it"};
    }
    return Result<void>{};
}

Key find_key(const Wanted& wanted, const Address& address, const std::string& state_dir) {
    if (wanted.key) return {*wanted.key, ""};
    const std::string file = state_dir + "/dev.key";
    if (wanted.state_dir && sys::exists(file)) return key_of_file(file);
    if (wanted.env_key) return {*wanted.env_key, ""};
    if (address.scheme == Scheme::unix_socket)
        return {"", "over the Unix socket only root needs none"};
    if (!is_local(address)) return {"", "the key of a daemon elsewhere has to be given"};
    return key_of_file(file);
}

}  // namespace

Result<Target> resolve_target(const Wanted& wanted) {
    Target target;
    const std::string state_dir = wanted.state_dir.value_or(std::string{kDefaultStateDir});
    const auto url = wanted.url ? wanted.url : wanted.env_url;
    SBX_TRY(target.address, parse_address(url.value_or(std::string{kDefaultUrl})));
    Key key = find_key(wanted, target.address, state_dir);
    const std::string socket = state_dir + "/sandboxd.sock";
    if (!url && key.text.empty() && sys::exists(socket)) {
        SBX_TRY(target.address, parse_address("unix://" + socket));
        key.note = "over the Unix socket only root needs none";
    }
    SBX_CHECK(check_key(key.text));
    target.key = std::move(key.text);
    target.key_note = std::move(key.note);
    target.ca_file = wanted.ca_file.value_or(wanted.env_ca_file.value_or(""));
    return target;
}

}  // namespace sandboxd::ctl
