#include "policies/price_book.hpp"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

namespace sandboxd::policies {

namespace {

using nlohmann::json;

constexpr std::size_t kDecimals = 12;  // pico
constexpr std::int64_t kPico = 1'000'000'000'000;

Error bad(std::string detail) { return Error{Errc::invalid_argument, "price book", std::move(detail)}; }

// "0.0000131" exactly; at most 12 decimals and a million units.
Result<std::uint64_t> parse_price(const std::string& key, const json& value) {
    const auto wrong = [&] { return bad("prices." + key + ": expected a decimal string such as \"0.000014\", at most 12 decimals"); };
    if (!value.is_string()) return wrong();
    const std::string text = value.get<std::string>();
    const auto dot = text.find('.');
    const std::string whole = text.substr(0, dot);
    std::string fraction = dot == std::string::npos ? "" : text.substr(dot + 1);
    const auto digits = [](const std::string& s) { return std::all_of(s.begin(), s.end(), [](char c) { return c >= '0' && c <= '9'; }); };
    if (whole.empty() || whole.size() > 6 || fraction.size() > kDecimals || !digits(whole) || !digits(fraction) ||
        (dot != std::string::npos && fraction.empty())) {
        return wrong();
    }
    fraction.resize(kDecimals, '0');
    return std::stoull(whole) * static_cast<std::uint64_t>(kPico) + std::stoull(fraction);
}

Result<void> known_keys(const json& object, std::initializer_list<std::string_view> known, const std::string& where) {
    for (const auto& [key, value] : object.items()) {
        if (std::find(known.begin(), known.end(), key) == known.end()) return bad("unknown key " + where + key);
    }
    return {};
}

}  // namespace

Result<PriceBook> parse_price_book(std::string_view text) {
    const json object = json::parse(text, nullptr, false);
    if (!object.is_object()) return bad("not a JSON object");
    SBX_CHECK(known_keys(object, {"name", "version", "currency", "description", "prices"}, ""));
    const auto name = object.find("name");
    const auto version = object.find("version");
    const auto currency = object.find("currency");
    const auto prices = object.find("prices");
    if (name == object.end() || !name->is_string() || name->get<std::string>().empty()) return bad("name: expected a string");
    if (version == object.end() || !version->is_number_unsigned()) return bad("version: expected a positive integer");
    if (currency == object.end() || !currency->is_string() || currency->get<std::string>().size() != 3) return bad("currency: expected three letters");
    if (prices == object.end() || !prices->is_object()) return bad("prices: expected an object");
    PriceBook book;
    book.name = name->get<std::string>();
    book.version = version->get<std::uint32_t>();
    book.currency = currency->get<std::string>();
    SBX_CHECK(known_keys(*prices, {"cpu_second", "memory_gib_second", "wall_second", "disk_gib_second", "egress_gib", "gpu_second"}, "prices."));
    const std::array<std::pair<const char*, std::uint64_t*>, 6> rows{{{"cpu_second", &book.cpu_second},
                                                                      {"memory_gib_second", &book.memory_gib_second},
                                                                      {"wall_second", &book.wall_second},
                                                                      {"disk_gib_second", &book.disk_gib_second},
                                                                      {"egress_gib", &book.egress_gib},
                                                                      {"gpu_second", &book.gpu_second}}};
    for (const auto& [key, out] : rows) {
        const auto found = prices->find(key);
        if (found == prices->end()) continue;
        SBX_TRY(*out, parse_price(key, *found));
    }
    return book;
}

std::string to_decimal(PicoMoney amount) {
    constexpr std::size_t kAtLeast = 6;
    const bool negative = amount < 0;
    const auto magnitude = negative ? 0 - static_cast<std::uint64_t>(amount) : static_cast<std::uint64_t>(amount);
    std::string fraction = std::to_string(magnitude % static_cast<std::uint64_t>(kPico));
    fraction.insert(0, kDecimals - fraction.size(), '0');
    while (fraction.size() > kAtLeast && fraction.back() == '0') fraction.pop_back();
    return (negative ? "-" : "") + std::to_string(magnitude / static_cast<std::uint64_t>(kPico)) + "." + fraction;
}

}  // namespace sandboxd::policies
