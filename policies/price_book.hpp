#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "sandboxd/core/result.hpp"

namespace sandboxd::policies {

// Money is an integer number of pico-units (10^-12) of the currency. Never a float.
using PicoMoney = std::int64_t;

// Prices per unit, in pico-units of the currency. Read from policies/price-books/*.json.
struct PriceBook {
    std::string name = "default";
    std::uint32_t version = 1;
    std::string currency = "USD";
    std::uint64_t cpu_second = 0;
    std::uint64_t memory_gib_second = 0;
    std::uint64_t wall_second = 0;       // of a living sandbox
    std::uint64_t disk_gib_second = 0;
    std::uint64_t egress_gib = 0;
    std::uint64_t gpu_second = 0;
    bool operator==(const PriceBook&) const = default;

    [[nodiscard]] std::string id() const { return name + "@" + std::to_string(version); }
};

// {"name", "version", "currency", "description"?, "prices": {"cpu_second": "0.0000131", ...}}. Strict: unknown or
// repeated keys, floats, negative numbers and more than 12 decimals are refused (invalid_argument, naming the key). A
// price that is not there is 0. `description` is for people.
[[nodiscard]] Result<PriceBook> parse_price_book(std::string_view json);

// "0.000123": at least six decimals, more when they are not zero, exact.
[[nodiscard]] std::string to_decimal(PicoMoney amount);

}  // namespace sandboxd::policies
