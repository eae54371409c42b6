#include "policies/price_book.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <span>
#include <vector>

namespace sandboxd::policies {

namespace {

using nlohmann::json;

constexpr std::size_t kDecimals = 12;  // pico
constexpr std::size_t kMostWholeDigits = 6;
constexpr std::size_t kLongestName = 64;
constexpr std::uint64_t kPico = 1'000'000'000'000;

Error bad(std::string detail) {
    return Error{Errc::invalid_argument, "price book", std::move(detail)};
}

bool all_digits(std::string_view text) {
    return std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

std::uint64_t to_number(std::string_view digits) {
    std::uint64_t out = 0;
    std::from_chars(digits.data(), digits.data() + digits.size(), out);
    return out;
}

// "0.0000131" to 13100000, exactly.
Result<std::uint64_t> parse_price(std::string_view key, const json& value) {
    const auto wrong = [key] {
        return bad("prices." + std::string{key} +
                   ": expected a decimal string such as \"0.000014\", not negative, below a "
                   "million, with at most 12 decimals");
    };
    if (!value.is_string()) return wrong();
    const std::string& text = value.get_ref<const std::string&>();
    const auto dot = text.find('.');
    const bool has_fraction = dot != std::string::npos;
    const std::string whole = text.substr(0, dot);
    std::string fraction = has_fraction ? text.substr(dot + 1) : "";
    if (whole.empty() || whole.size() > kMostWholeDigits || !all_digits(whole)) return wrong();
    if (fraction.size() > kDecimals || !all_digits(fraction)) return wrong();
    if (has_fraction && fraction.empty()) return wrong();
    fraction.resize(kDecimals, '0');
    return to_number(whole) * kPico + to_number(fraction);
}

// nlohmann keeps the last of two equal keys; of two prices for one thing neither can be right.
Result<json> parse_object(std::string_view text) {
    std::string duplicate;
    std::vector<std::set<std::string>> open;
    const auto watch = [&](int, json::parse_event_t event, json& parsed) {
        if (event == json::parse_event_t::object_start) {
            open.emplace_back();
        } else if (event == json::parse_event_t::object_end) {
            open.pop_back();
        } else if (event == json::parse_event_t::key) {
            const auto& key = parsed.get_ref<const std::string&>();
            if (!open.back().insert(key).second) duplicate = key;
        }
        return true;
    };
    json out = json::parse(text, watch, /*allow_exceptions=*/false);
    if (!out.is_object()) return bad("not a JSON object");
    if (!duplicate.empty()) return bad("the key " + duplicate + " is there twice");
    return out;
}

Result<void> only_known(const json& object, std::span<const std::string_view> known,
                        std::string_view where) {
    for (const auto& [key, value] : object.items()) {
        if (std::find(known.begin(), known.end(), key) == known.end()) {
            return bad("unknown key " + std::string{where} + key);
        }
    }
    return {};
}

bool is_name(std::string_view text) {
    const auto allowed = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '-' || c == '_' || c == '.';
    };
    return !text.empty() && text.size() <= kLongestName &&
           std::all_of(text.begin(), text.end(), allowed);
}

bool is_currency(std::string_view text) {
    return text.size() == 3 &&
           std::all_of(text.begin(), text.end(), [](char c) { return c >= 'A' && c <= 'Z'; });
}

Result<void> parse_head(const json& object, PriceBook& out) {
    const auto text_of = [&](const char* key) {
        const auto found = object.find(key);
        return found != object.end() && found->is_string() ? found->get<std::string>()
                                                           : std::string{};
    };
    out.name = text_of("name");
    if (!is_name(out.name)) {
        return bad("name: expected a string of at most 64 letters, digits, '.', '_' or '-'");
    }
    out.currency = text_of("currency");
    if (!is_currency(out.currency)) return bad("currency: expected three capital letters");
    const auto version = object.find("version");
    if (version == object.end() || !version->is_number_unsigned()) {
        return bad("version: expected a positive integer");
    }
    const auto number = version->get<std::uint64_t>();
    if (number == 0 || number > std::numeric_limits<std::uint32_t>::max()) {
        return bad("version: out of range");
    }
    out.version = static_cast<std::uint32_t>(number);
    // For the people who keep the file: where its prices come from.
    const auto description = object.find("description");
    if (description != object.end() && !description->is_string()) {
        return bad("description: expected a string");
    }
    return {};
}

}  // namespace

Result<PriceBook> parse_price_book(std::string_view text) {
    static constexpr std::array<std::string_view, 5> kKeys{"name", "version", "currency",
                                                           "description", "prices"};
    struct Row {
        std::string_view key;
        std::uint64_t PriceBook::*price;
    };
    static constexpr std::array<Row, 6> kRows{{{"cpu_second", &PriceBook::cpu_second},
                                               {"memory_gib_second", &PriceBook::memory_gib_second},
                                               {"wall_second", &PriceBook::wall_second},
                                               {"disk_gib_second", &PriceBook::disk_gib_second},
                                               {"egress_gib", &PriceBook::egress_gib},
                                               {"gpu_second", &PriceBook::gpu_second}}};
    std::array<std::string_view, kRows.size()> price_keys{};
    std::transform(kRows.begin(), kRows.end(), price_keys.begin(),
                   [](const Row& row) { return row.key; });

    SBX_TRY(const json object, parse_object(text));
    SBX_CHECK(only_known(object, kKeys, ""));
    PriceBook book;
    SBX_CHECK(parse_head(object, book));
    const auto prices = object.find("prices");
    if (prices == object.end() || !prices->is_object()) return bad("prices: expected an object");
    SBX_CHECK(only_known(*prices, price_keys, "prices."));
    for (const Row& row : kRows) {
        const auto found = prices->find(row.key);
        if (found == prices->end()) continue;  // not priced
        SBX_TRY(book.*row.price, parse_price(row.key, *found));
    }
    return book;
}

std::string to_decimal(PicoMoney amount) {
    constexpr std::size_t kAtLeast = 6;
    const bool negative = amount < 0;
    // Negated as unsigned: the smallest integer has no positive counterpart.
    const auto bits = static_cast<std::uint64_t>(amount);
    const std::uint64_t magnitude = negative ? 0 - bits : bits;
    std::string fraction = std::to_string(magnitude % kPico);
    fraction.insert(0, kDecimals - fraction.size(), '0');
    while (fraction.size() > kAtLeast && fraction.back() == '0') fraction.pop_back();
    return (negative ? "-" : "") + std::to_string(magnitude / kPico) + "." + fraction;
}

}  // namespace sandboxd::policies
