#include "sandboxd/manager/state_file.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <memory>
#include <nlohmann/json.hpp>

namespace sandboxd::manager {

namespace {

using nlohmann::json;

constexpr int kFormat = 1;

template <class T>
bool take(const json& object, const char* key, T& out) {
    const auto found = object.find(key);
    if (found == object.end() || !found->is_number_unsigned()) return false;
    const auto value = found->get<std::uint64_t>();
    if (value > std::numeric_limits<T>::max()) return false;
    out = static_cast<T>(value);
    return true;
}

}  // namespace

std::string to_json(const SandboxState& s) {
    const json object{{"format", kFormat}, {"id", s.id.str()}, {"base", s.ids.base}, {"template", s.template_name},
                      {"cpu_milli", s.limits.cpu_milli}, {"memory_bytes", s.limits.memory_bytes},
                      {"disk_bytes", s.limits.disk_bytes}, {"pids", s.limits.pids},
                      {"pid", static_cast<std::uint32_t>(s.init.pid)}, {"start_ticks", s.init.start_ticks},
                      {"first_cpu", s.first_cpu}, {"walls", s.walls.bits}};
    return object.dump();
}

Result<SandboxState> parse_state(std::string_view text) {
    const json object = json::parse(text, nullptr, false);
    const auto bad = [] { return Error{Errc::invalid_argument, "state file", "damaged or of another version"}; };
    if (!object.is_object()) return bad();
    SandboxState out;
    int format = 0;
    std::uint32_t pid = 0;
    const auto id = object.find("id");
    const auto name = object.find("template");
    if (!take(object, "format", format) || format != kFormat || id == object.end() || !id->is_string() || name == object.end() ||
        !name->is_string() || !take(object, "base", out.ids.base) || !take(object, "cpu_milli", out.limits.cpu_milli) ||
        !take(object, "memory_bytes", out.limits.memory_bytes) || !take(object, "disk_bytes", out.limits.disk_bytes) ||
        !take(object, "pids", out.limits.pids) || !take(object, "pid", pid) || !take(object, "start_ticks", out.init.start_ticks)) {
        return bad();
    }
    // Absent in the files of earlier versions; a wrong value would do no harm.
    (void)take(object, "first_cpu", out.first_cpu);
    (void)take(object, "walls", out.walls.bits);
    out.id = SandboxId::trusted(id->get<std::string>());
    out.template_name = name->get<std::string>();
    out.init.pid = static_cast<pid_t>(pid);
    return out;
}

Result<StateDirectory> StateDirectory::open(const std::string& state_dir) {
    const std::string path = state_dir + "/sandboxes";
    SBX_CHECK(sys::ensure_dir(path, 0700));
    return StateDirectory{path};
}

Result<void> StateDirectory::write(const SandboxState& state) const {
    const std::string path = path_ + "/" + state.id.str() + ".json";
    const std::string temporary = path + ".new";
    {
        SBX_TRY(const Fd file, sys::open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600));
        const std::string text = to_json(state);
        SBX_CHECK(sys::write_all(file.get(), std::as_bytes(std::span{text})));
    }
    return sys::rename(temporary, path);
}

Result<void> StateDirectory::remove(const SandboxId& id) const {
    const std::string path = path_ + "/" + id.str() + ".json";
    auto removed = sys::unlinkat(AT_FDCWD, path.c_str());
    if (!removed && removed.error().errc() != Errc::not_found) return removed;
    return {};
}

Result<StateDirectory::Found> StateDirectory::read_all() const {
    const std::unique_ptr<DIR, int (*)(DIR*)> dir{::opendir(path_.c_str()), ::closedir};
    if (!dir) return errno_error("opendir", path_);
    Found out;
    while (const dirent* entry = ::readdir(dir.get())) {
        const std::string name = entry->d_name;
        if (name == "." || name == "..") continue;
        // A FIFO would hold up the start for ever, a link lead away.
        const bool plain = entry->d_type == DT_REG || entry->d_type == DT_UNKNOWN;
        auto text = plain ? sys::read_file(path_ + "/" + name, 64 * 1024) : Result<std::string>{Error{Errc::invalid_argument, "state file", name}};
        auto state = text ? parse_state(*text) : Result<SandboxState>{std::move(text).error()};
        if (state && name == state->id.str() + ".json") {
            out.states.push_back(*std::move(state));
        } else {
            out.unreadable.push_back(name);
        }
    }
    return out;
}

}  // namespace sandboxd::manager
