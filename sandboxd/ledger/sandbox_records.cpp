#include <nlohmann/json.hpp>
#include <utility>

#include "sandboxd/core/utf8.hpp"
#include "sandboxd/ledger/columns.hpp"
#include "sandboxd/ledger/records_state.hpp"

namespace sandboxd::ledger {

namespace {

using nlohmann::json;
using Texts = std::map<std::string, std::string>;

Result<std::string> write_map(const char* name, const Texts& map) {
    for (const auto& [key, value] : map) {
        // JSON has no other text. The key is not repeated in the error: the log takes UTF-8 only.
        if (!utf8::is_valid(key) || !utf8::is_valid(value)) {
            return Error{Errc::invalid_argument, name, "a key or a value is not UTF-8"};
        }
    }
    return json(map).dump();
}

Result<Texts> read_map(const char* name, const SandboxId& id, const std::string& text) {
    const Error damaged{Errc::internal, name, "the stored record of " + id.str() + " is damaged"};
    const json object = json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (!object.is_object()) return damaged;
    Texts out;
    for (const auto& [key, value] : object.items()) {
        if (!value.is_string()) return damaged;
        out.emplace(key, value.get_ref<const std::string&>());
    }
    return out;
}

Result<SandboxRecord> read_sandbox(const Statement& row) {
    SandboxRecord s;
    policies::Limits& l = s.limits;
    std::string env;
    std::string metadata;
    bool pause = false;
    int profile = 0;
    ColumnReader{row} >> s.id >> s.tenant >> s.template_name >> l.cpu_milli >> l.memory_bytes >>
        l.disk_bytes >> l.pids >> l.output_bytes >> s.network >> s.allow_root >> env >> metadata >>
        s.timeout_s >> pause >> s.created >> s.last_used >> s.provisional >> s.paused >> s.ended >>
        s.end_reason >> profile;
    SBX_TRY(s.profile, stored_profile(profile));
    s.on_timeout = pause ? OnTimeout::pause : OnTimeout::kill;
    SBX_TRY(s.env, read_map("env", s.id, env));
    SBX_TRY(s.metadata, read_map("metadata", s.id, metadata));
    return s;
}

}  // namespace

Result<void> Records::Impl::prepare_sandboxes() {
    SBX_TRY(
        put_sandbox,
        database.prepare(
            "INSERT OR REPLACE INTO sandboxes VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"));
    SBX_TRY(get_sandbox, database.prepare("SELECT * FROM sandboxes WHERE id = ?"));
    SBX_TRY(put_exec,
            database.prepare("INSERT OR REPLACE INTO execs VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"));
    SBX_TRY(get_execs, database.prepare("SELECT * FROM execs WHERE sandbox = ? ORDER BY number"));
    return {};
}

Result<void> Records::put_sandbox(const SandboxRecord& s) {
    SBX_TRY(const std::string env, write_map("env", s.env));
    SBX_TRY(const std::string metadata, write_map("metadata", s.metadata));
    const policies::Limits& l = s.limits;
    ColumnWriter{impl_->put_sandbox}
        << s.id << s.tenant << s.template_name << l.cpu_milli << l.memory_bytes << l.disk_bytes
        << l.pids << l.output_bytes << s.network << s.allow_root << env << metadata << s.timeout_s
        << (s.on_timeout == OnTimeout::pause) << s.created << s.last_used << s.provisional
        << s.paused << s.ended << s.end_reason << static_cast<int>(s.profile);
    return impl_->put_sandbox.run();
}

Result<std::vector<SandboxRecord>> Records::living_sandboxes() {
    SBX_TRY(Statement rows,
            impl_->database.prepare(
                "SELECT * FROM sandboxes WHERE ended IS NULL ORDER BY created, id"));
    std::vector<SandboxRecord> out;
    for (;;) {
        SBX_TRY(const bool row, rows.step());
        if (!row) return out;
        SBX_TRY(SandboxRecord record, read_sandbox(rows));
        out.push_back(std::move(record));
    }
}

Result<std::optional<SandboxRecord>> Records::sandbox(const SandboxId& id) {
    const StatementUse get{impl_->get_sandbox};
    ColumnWriter{*get} << id;
    SBX_TRY(const bool row, get->step());
    std::optional<SandboxRecord> out;
    if (row) {
        SBX_TRY(out, read_sandbox(*get));
    }
    return out;
}

Result<void> Records::put_exec(const ExecRecord& e) {
    ColumnWriter{impl_->put_exec} << e.sandbox << e.number << e.command << e.cwd << e.user << e.pty
                                  << e.timeout_ms << e.output_limit << e.on_output_limit
                                  << e.started << e.ended << e.status << e.exit_code << e.signal
                                  << e.out_dropped << e.err_dropped
                                  << policies::to_text(e.denials);
    return impl_->put_exec.run();
}

Result<std::vector<ExecRecord>> Records::execs(const SandboxId& sandbox) {
    const StatementUse rows{impl_->get_execs};
    ColumnWriter{*rows} << sandbox;
    std::vector<ExecRecord> out;
    for (;;) {
        SBX_TRY(const bool row, rows->step());
        if (!row) return out;
        ExecRecord& e = out.emplace_back();
        std::string denials;
        ColumnReader{*rows} >> e.sandbox >> e.number >> e.command >> e.cwd >> e.user >> e.pty >>
            e.timeout_ms >> e.output_limit >> e.on_output_limit >> e.started >> e.ended >>
            e.status >> e.exit_code >> e.signal >> e.out_dropped >> e.err_dropped >> denials;
        SBX_TRY(e.denials, policies::parse_denials(denials));
    }
}

}  // namespace sandboxd::ledger
