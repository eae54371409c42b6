#pragma once

#include <concepts>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "sandboxd/core/clock.hpp"
#include "sandboxd/core/strong_id.hpp"
#include "sandboxd/ledger/database.hpp"

namespace sandboxd::ledger {

// Binds the values of a record to the positions of a statement, one after the other. Unsigned
// numbers are stored by their bits, so that all of them come back.
class ColumnWriter {
public:
    explicit ColumnWriter(Statement& statement) noexcept : statement_{statement} {}

    template <std::integral T>
    ColumnWriter& operator<<(T value) {
        statement_.bind(position_++, static_cast<std::int64_t>(value));
        return *this;
    }
    ColumnWriter& operator<<(const std::string& text) {
        statement_.bind(position_++, std::string_view{text});
        return *this;
    }
    template <class Tag>
    ColumnWriter& operator<<(const StrongId<Tag>& id) {
        return *this << id.str();
    }
    ColumnWriter& operator<<(WallTime time) { return *this << time.time_since_epoch().count(); }
    ColumnWriter& operator<<(const std::optional<WallTime>& time) {
        if (time) return *this << *time;
        statement_.bind_null(position_++);
        return *this;
    }
    ColumnWriter& blob(std::span<const std::byte> bytes) {
        statement_.bind_blob(position_++, bytes);
        return *this;
    }

private:
    Statement& statement_;
    int position_ = 1;
};

// Reads the columns of a row in the order in which a ColumnWriter wrote them.
class ColumnReader {
public:
    explicit ColumnReader(const Statement& row) noexcept : row_{row} {}

    template <std::integral T>
    ColumnReader& operator>>(T& value) {
        value = static_cast<T>(row_.integer(column_++));
        return *this;
    }
    ColumnReader& operator>>(std::string& text) {
        text = row_.text(column_++);
        return *this;
    }
    template <class Tag>
    ColumnReader& operator>>(StrongId<Tag>& id) {
        id = StrongId<Tag>::trusted(row_.text(column_++));
        return *this;
    }
    ColumnReader& operator>>(WallTime& time) {
        time = WallTime{std::chrono::nanoseconds{row_.integer(column_++)}};
        return *this;
    }
    ColumnReader& operator>>(std::optional<WallTime>& time) {
        time.reset();
        if (row_.is_null(column_)) {
            ++column_;
            return *this;
        }
        return *this >> time.emplace();
    }

private:
    const Statement& row_;
    int column_ = 0;
};

}  // namespace sandboxd::ledger
