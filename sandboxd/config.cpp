#include "sandboxd/config.hpp"

#include <algorithm>
#include <array>
#include <functional>
#include <sstream>

// Distributions ship the library built with exceptions; ours is the header-only form without.
#define TOML_HEADER_ONLY 1
#define TOML_EXCEPTIONS 0
#include <toml++/toml.h>

#include "isolation/tested_walls.hpp"
#include "sandboxd/listen_address.hpp"

namespace sandboxd {

namespace {

// One TOML table being read: remembers which keys were asked for, so that the rest are unknown.
class Reader {
public:
    Reader(const toml::table& table, std::string prefix, std::string_view file)
        : table_{table}, prefix_{std::move(prefix)}, file_{file} {}

    template <class T, class Check>
    void value(std::string_view key, T& out, std::string_view expected, Check ok) {
        known_.emplace_back(key);
        const toml::node* node = table_.get(key);
        if (node == nullptr || error_) return;
        using Wire = std::conditional_t<std::is_same_v<T, bool>, bool, std::conditional_t<std::is_integral_v<T>, std::int64_t, std::string>>;
        const auto found = node->value_exact<Wire>();
        if (!found || !ok(*found)) return fail(*node, key, expected);
        out = static_cast<T>(*found);
    }

    void text(std::string_view key, std::string& out) {
        value(key, out, "a string", [](const std::string&) { return true; });
    }
    void flag(std::string_view key, bool& out) {
        value(key, out, "true or false", [](bool) { return true; });
    }
    template <class T>
    void number(std::string_view key, T& out, std::int64_t low, std::int64_t high) {
        value(key, out, "an integer from " + std::to_string(low) + " to " + std::to_string(high),
              [=](std::int64_t v) { return v >= low && v <= high; });
    }
    // In the file: MiB, as the API says it. In memory: bytes.
    void mebibytes(std::string_view key, std::uint64_t& bytes) {
        std::int64_t mib = static_cast<std::int64_t>(bytes >> 20);
        number(key, mib, 0, 1LL << 40);
        bytes = static_cast<std::uint64_t>(mib) << 20;
    }
    void texts(std::string_view key, std::vector<std::string>& out) {
        known_.emplace_back(key);
        const toml::node* node = table_.get(key);
        if (node == nullptr || error_) return;
        const toml::array* array = node->as_array();
        if (array == nullptr) return fail(*node, key, "a list of strings");
        for (const toml::node& item : *array) {
            const auto item_text = item.value_exact<std::string>();
            if (!item_text) return fail(item, key, "a list of strings");
            out.push_back(*item_text);
        }
    }
    void choice(std::string_view key, std::string_view expected, const std::function<bool(const std::string&)>& take) {
        std::string text;
        value(key, text, expected, take);
    }
    void tables(std::string_view key, const std::function<Result<void>(const toml::table&)>& each) {
        known_.emplace_back(key);
        const toml::node* node = table_.get(key);
        if (node == nullptr || error_) return;
        const toml::array* array = node->as_array();
        if (array == nullptr) return fail(*node, key, "[[" + std::string{key} + "]] tables");
        for (const toml::node& item : *array) {
            const toml::table* table = item.as_table();
            if (table == nullptr) return fail(item, key, "[[" + std::string{key} + "]] tables");
            if (auto done = each(*table); !done) error_ = std::move(done).error();
        }
    }
    void table(std::string_view key, const std::function<Result<void>(const toml::table&)>& take) {
        known_.emplace_back(key);
        const toml::node* node = table_.get(key);
        if (node == nullptr || error_) return;
        const toml::table* inner = node->as_table();
        if (inner == nullptr) return fail(*node, key, "a [" + std::string{key} + "] table");
        if (auto done = take(*inner); !done) error_ = std::move(done).error();
    }

    Result<void> finish() {
        if (error_) return *std::move(error_);
        for (const auto& [key, node] : table_) {
            if (std::find(known_.begin(), known_.end(), key.str()) == known_.end()) {
                std::string names;
                for (const std::string& name : known_) names += (names.empty() ? "" : ", ") + name;
                fail(node, key.str(), "one of the known keys (" + names + ")");
                return *std::move(error_);
            }
        }
        return {};
    }

private:
    void fail(const toml::node& node, std::string_view key, std::string_view expected) {
        std::ostringstream where;
        where << file_ << ":" << node.source().begin.line;
        error_ = Error{Errc::invalid_argument, "configuration", where.str() + ": " + prefix_ + std::string{key} + ": expected " + std::string{expected}};
    }

    const toml::table& table_;
    std::string prefix_;
    std::string file_;
    std::vector<std::string> known_;
    std::optional<Error> error_;
};

bool is_hash(const std::string& text) {
    return text.size() == 64 && std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

Result<TenantConfig> read_tenant(const toml::table& table, std::string_view file) {
    TenantConfig tenant;
    Reader reader{table, "tenants.", file};
    std::string id;
    policies::TenantLimits& limits = tenant.limits;
    reader.text("id", id);
    reader.texts("key_hashes", tenant.key_hashes);
    reader.flag("admin", tenant.admin);
    reader.number("sandboxes", limits.sandboxes, 0, 4096);
    reader.number("cpu_milli", limits.cpu_milli, 0, 1LL << 40);
    reader.mebibytes("memory_mb", limits.memory_bytes);
    reader.number("creates_per_second", limits.creates_per_second, 1, 100000);
    reader.number("max_timeout_s", limits.max_timeout_s, 1, 366LL * 24 * 3600);
    reader.number("max_exec_ms", limits.max_exec_ms, 1, 366LL * 24 * 3600 * 1000);
    reader.flag("allow_root", limits.allow_root);
    reader.choice("profile", "strict, default or debug", [&](const std::string& value) {
        const auto profile = policies::parse_profile(value);
        limits.profile = profile.value_or(limits.profile);
        return profile.has_value();
    });
    reader.number("sandbox_cpu_milli", limits.per_sandbox.cpu_milli, 50, 1'000'000);
    reader.mebibytes("sandbox_memory_mb", limits.per_sandbox.memory_bytes);
    reader.mebibytes("sandbox_disk_mb", limits.per_sandbox.disk_bytes);
    reader.mebibytes("sandbox_output_mb", limits.per_sandbox.output_bytes);
    reader.number("sandbox_pids", limits.per_sandbox.pids, 4, 32768);
    SBX_CHECK(reader.finish());
    auto parsed = parse_tenant_id(id);
    if (!parsed) return std::move(parsed).error().with(std::string{file} + ": tenants.id");
    tenant.id = *std::move(parsed);
    for (const std::string& hash : tenant.key_hashes) {
        if (!is_hash(hash)) {
            return Error{Errc::invalid_argument, "configuration",
                         std::string{file} + ": tenants.key_hashes: expected the SHA-256 of a key as 64 lower-case hex digits "
                         "(printf %s KEY | sha256sum)"};
        }
    }
    return tenant;
}

Result<void> read_node(const toml::table& table, std::string_view file, NodeIdentity& node) {
    Reader reader{table, "node.", file};
    reader.number("region", node.region, 0, 255);
    reader.number("cell", node.cell, 0, 31);
    reader.number("node", node.node, 0, (1 << 20) - 1);
    reader.number("epoch", node.epoch, 0, (1 << 15) - 1);
    return reader.finish();
}

Result<void> check_whole(const Config& config, std::string_view file) {
    const auto bad = [&](std::string text) { return Error{Errc::invalid_argument, "configuration", std::string{file} + ": " + std::move(text)}; };
    if (config.tls_certificate.empty() != config.tls_key.empty()) return bad("tls_certificate and tls_key: give both or none");
    if (auto address = parse_listen_address(config.listen); !address) return std::move(address).error().with(file);
    if (config.state_dir.empty() || config.state_dir[0] != '/') return bad("state_dir: expected an absolute path");
    for (const std::string& name : config.unsafe_accept_broken_walls) {
        const auto is_it = [&](const isolation::WallInfo& wall) { return wall.name == name; };
        if (std::none_of(std::begin(isolation::kTestedWalls), std::end(isolation::kTestedWalls), is_it)) {
            return bad("unsafe_accept_broken_walls: no wall is called " + name + " (GET /v1/attest lists them)");
        }
    }
    for (std::size_t i = 0; i < config.tenants.size(); ++i) {
        for (std::size_t j = 0; j < i; ++j) {
            if (config.tenants[i].id == config.tenants[j].id) return bad("tenants: " + config.tenants[i].id.str() + " stands there twice");
        }
    }
    return {};
}

const char* level_name(log::Level level) {
    constexpr std::array kNames{"debug", "info", "warn", "error"};
    return kNames[static_cast<std::size_t>(level)];
}

void write_tenant(toml::array& out, const TenantConfig& tenant) {
    toml::array hashes;
    for (const std::string& hash : tenant.key_hashes) hashes.push_back(hash);
    const policies::TenantLimits& l = tenant.limits;
    const auto mb = [](std::uint64_t bytes) { return static_cast<std::int64_t>(bytes >> 20); };
    const auto n = [](auto v) { return static_cast<std::int64_t>(v); };
    out.push_back(toml::table{{"id", tenant.id.str()}, {"key_hashes", hashes}, {"admin", tenant.admin}, {"sandboxes", n(l.sandboxes)},
                              {"cpu_milli", n(l.cpu_milli)}, {"memory_mb", mb(l.memory_bytes)}, {"creates_per_second", n(l.creates_per_second)},
                              {"max_timeout_s", n(l.max_timeout_s)}, {"max_exec_ms", n(l.max_exec_ms)}, {"allow_root", l.allow_root}, {"profile", policies::to_string(l.profile)},
                              {"sandbox_cpu_milli", n(l.per_sandbox.cpu_milli)}, {"sandbox_memory_mb", mb(l.per_sandbox.memory_bytes)},
                              {"sandbox_disk_mb", mb(l.per_sandbox.disk_bytes)}, {"sandbox_output_mb", mb(l.per_sandbox.output_bytes)},
                              {"sandbox_pids", n(l.per_sandbox.pids)}});
}

}  // namespace

Result<Config> parse_config(std::string_view text, std::string_view file) {
    toml::parse_result parsed = toml::parse(text, file);
    if (!parsed) {
        std::ostringstream where;
        where << file << ":" << parsed.error().source().begin.line << ": " << parsed.error().description();
        return Error{Errc::invalid_argument, "configuration", where.str()};
    }
    Config config;
    Reader reader{parsed.table(), "", file};
    reader.flag("dev", config.dev);
    reader.text("listen", config.listen);
    reader.text("state_dir", config.state_dir);
    reader.text("socket", config.socket);
    reader.text("socket_group", config.socket_group);
    reader.text("tls_certificate", config.tls_certificate);
    reader.text("tls_key", config.tls_key);
    reader.text("api_user", config.api_user);
    reader.text("price_book", config.price_book);
    reader.text("seccomp_profile", config.seccomp_profile);
    reader.text("cgroup_parent", config.cgroup_parent);
    reader.texts("unsafe_missing_controllers", config.unsafe_missing_controllers);
    reader.texts("unsafe_accept_broken_walls", config.unsafe_accept_broken_walls);
    reader.text("pool_device", config.pool_device);
    reader.mebibytes("pool_mb", config.pool_bytes);
    reader.flag("pool_tmpfs", config.pool_tmpfs);
    reader.number("sandboxes_max", config.sandboxes_max, 1, 4096);
    reader.mebibytes("memory_reserve_mb", config.memory_reserve_bytes);
    reader.choice("on_stop", "\"keep\" or \"destroy\"", [&](const std::string& value) {
        config.on_stop = value == "destroy" ? OnStop::destroy : OnStop::keep;
        return value == "keep" || value == "destroy";
    });
    reader.number("drain_timeout_s", config.drain_timeout_s, 0, 24 * 3600);
    reader.mebibytes("request_mb_max", config.request_bytes_max);
    reader.number("connections_max", config.connections_max, 8, 65536);
    reader.choice("log_level", "debug, info, warn or error", [&](const std::string& value) { return log::parse_level(value, config.log_level); });
    reader.table("node", [&](const toml::table& table) { return read_node(table, file, config.node); });
    reader.tables("tenants", [&](const toml::table& table) -> Result<void> {
        SBX_TRY(TenantConfig tenant, read_tenant(table, file));
        config.tenants.push_back(std::move(tenant));
        return {};
    });
    SBX_CHECK(reader.finish());
    SBX_CHECK(check_whole(config, file));
    return config;
}

Config dev_config() {
    Config config;
    config.dev = true;
    config.on_stop = OnStop::destroy;
    config.drain_timeout_s = 5;
    TenantConfig tenant;
    tenant.id = TenantId::trusted("dev");
    tenant.admin = true;
    tenant.limits.profile = policies::Profile::debug;
    config.tenants.push_back(std::move(tenant));
    return config;
}

std::string to_toml(const Config& c) {
    const auto mb = [](std::uint64_t bytes) { return static_cast<std::int64_t>(bytes >> 20); };
    const auto n = [](auto v) { return static_cast<std::int64_t>(v); };
    toml::array tenants;
    for (const TenantConfig& tenant : c.tenants) write_tenant(tenants, tenant);
    toml::array missing;
    for (const std::string& name : c.unsafe_missing_controllers) missing.push_back(name);
    toml::array accepted;
    for (const std::string& name : c.unsafe_accept_broken_walls) accepted.push_back(name);
    const toml::table node{{"region", n(c.node.region)}, {"cell", n(c.node.cell)}, {"node", n(c.node.node)}, {"epoch", n(c.node.epoch)}};
    toml::table table{{"dev", c.dev}, {"listen", c.listen}, {"state_dir", c.state_dir}, {"socket", c.socket},
                      {"socket_group", c.socket_group}, {"tls_certificate", c.tls_certificate}, {"tls_key", c.tls_key},
                      {"api_user", c.api_user}, {"price_book", c.price_book}, {"seccomp_profile", c.seccomp_profile},
                      {"cgroup_parent", c.cgroup_parent}, {"unsafe_missing_controllers", missing}, {"unsafe_accept_broken_walls", accepted},
                      {"pool_device", c.pool_device},
                      {"pool_mb", mb(c.pool_bytes)}, {"pool_tmpfs", c.pool_tmpfs}, {"sandboxes_max", n(c.sandboxes_max)},
                      {"memory_reserve_mb", mb(c.memory_reserve_bytes)}, {"on_stop", c.on_stop == OnStop::keep ? "keep" : "destroy"},
                      {"drain_timeout_s", n(c.drain_timeout_s)}, {"request_mb_max", mb(c.request_bytes_max)},
                      {"connections_max", n(c.connections_max)}, {"log_level", level_name(c.log_level)}, {"node", node}};
    if (!c.tenants.empty()) table.insert("tenants", tenants);
    std::ostringstream out;
    out << table << '\n';
    return out.str();
}

}  // namespace sandboxd
