#include <span>
#include <utility>

#include "sandboxd/ledger/columns.hpp"
#include "sandboxd/ledger/records_state.hpp"

namespace sandboxd::ledger {

namespace {

std::span<const std::byte> bytes_of(const std::string& text) {
    return std::as_bytes(std::span{text});
}

}  // namespace

Result<void> Records::Impl::prepare_idempotency() {
    SBX_TRY(claim, database.prepare(
                       "INSERT INTO idempotency VALUES(?,?,?,?,?,?,?) ON CONFLICT DO NOTHING"));
    SBX_TRY(claimed, database.prepare("SELECT * FROM idempotency WHERE tenant = ? AND key = ?"));
    SBX_TRY(finish, database.prepare("UPDATE idempotency SET status = ?, content_type = ?, body = ?"
                                     " WHERE tenant = ? AND key = ?"));
    SBX_TRY(drop, database.prepare("DELETE FROM idempotency WHERE tenant = ? AND key = ?"));
    return {};
}

Result<std::optional<IdempotencyRecord>> Records::claim_idempotency(const IdempotencyRecord& r) {
    ColumnWriter columns{impl_->claim};
    columns << r.tenant << r.key << r.request_fingerprint << r.status << r.content_type;
    columns.blob(bytes_of(r.body));
    columns << r.created;
    SBX_CHECK(impl_->claim.run());
    std::optional<IdempotencyRecord> out;
    if (impl_->database.changes() == 1) return out;

    const StatementUse get{impl_->claimed};
    ColumnWriter{*get} << r.tenant << r.key;
    SBX_TRY(const bool row, get->step());
    if (!row)
        return Error{Errc::unavailable, "idempotency key", "it was dropped just now; try again"};
    IdempotencyRecord& holder = out.emplace();
    ColumnReader{*get} >> holder.tenant >> holder.key >> holder.request_fingerprint >>
        holder.status >> holder.content_type >> holder.body >> holder.created;
    return out;
}

Result<void> Records::finish_idempotency(const IdempotencyRecord& r) {
    ColumnWriter columns{impl_->finish};
    columns << r.status << r.content_type;
    columns.blob(bytes_of(r.body));
    columns << r.tenant << r.key;
    return impl_->finish.run();
}

Result<void> Records::drop_idempotency(const TenantId& tenant, const std::string& key) {
    ColumnWriter{impl_->drop} << tenant << key;
    return impl_->drop.run();
}

}  // namespace sandboxd::ledger
