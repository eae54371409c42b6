#include "policies/price_book.hpp"

#include <catch2/catch.hpp>
#include <limits>
#include <nlohmann/json.hpp>

#include "sandboxd/core/sys.hpp"

namespace sandboxd::policies {
namespace {

using nlohmann::json;

json valid() {
    return {{"name", "mine"}, {"version", 3}, {"currency", "EUR"}, {"prices", json::object()}};
}

Result<PriceBook> with_price(const json& price) {
    json book = valid();
    book["prices"]["cpu_second"] = price;
    return parse_price_book(book.dump());
}

std::string refusal(const json& book) {
    const auto result = parse_price_book(book.dump());
    if (result) return "accepted";
    if (!result.error().is(Errc::invalid_argument)) return "wrong code";
    return result.error().message();
}

TEST_CASE("every price goes to its own field, exactly") {
    json book = valid();
    book["description"] = "why";
    book["prices"] = {{"cpu_second", "0.0000131"}, {"memory_gib_second", "0.000000000001"},
                      {"wall_second", "1"},        {"disk_gib_second", "999999.999999999999"},
                      {"egress_gib", "0.09"},      {"gpu_second", "0.000583"}};
    const auto result = parse_price_book(book.dump());
    REQUIRE(result);
    PriceBook expected;
    expected.name = "mine";
    expected.version = 3;
    expected.currency = "EUR";
    expected.cpu_second = 13'100'000;
    expected.memory_gib_second = 1;
    expected.wall_second = 1'000'000'000'000;
    expected.disk_gib_second = 999'999'999'999'999'999;
    expected.egress_gib = 90'000'000'000;
    expected.gpu_second = 583'000'000;
    CHECK(*result == expected);
    CHECK(result->id() == "mine@3");
}

TEST_CASE("a price that is not named is free") {
    const auto result = parse_price_book(valid().dump());
    REQUIRE(result);
    CHECK(result->cpu_second == 0);
}

TEST_CASE("a price is a plain decimal string and nothing else") {
    for (const json& good : {json("0"), json("007"), json("0.000014"), json("999999")}) {
        INFO(good.dump());
        CHECK(with_price(good));
    }
    for (const json& wrong :
         {json(0.000014), json(1), json(nullptr), json(""), json("."), json("1."), json(".5"),
          json("-1"), json("+1"), json("1e-6"), json("1,5"), json(" 1"), json("1 "), json("0x1"),
          json("1.2.3"), json("1000000"), json("0.0000000000001"), json("NaN"), json({"1"})}) {
        INFO(wrong.dump());
        const auto result = with_price(wrong);
        REQUIRE(!result);
        CHECK(result.error().is(Errc::invalid_argument));
        CHECK(result.error().message().find("prices.cpu_second") != std::string::npos);
    }
}

TEST_CASE("what is unknown, missing or of the wrong type is refused by its name") {
    json book = valid();
    book["color"] = "red";
    CHECK_THAT(refusal(book), Catch::Contains("unknown key color"));
    book = valid();
    book["prices"]["cpu_hour"] = "1";
    CHECK_THAT(refusal(book), Catch::Contains("unknown key prices.cpu_hour"));
    for (const char* key : {"name", "version", "currency", "prices"}) {
        book = valid();
        book.erase(key);
        CHECK_THAT(refusal(book), Catch::Contains(std::string{key} + ":"));
        book = valid();
        book[key] = true;
        CHECK_THAT(refusal(book), Catch::Contains(std::string{key} + ":"));
    }
    book = valid();
    book["description"] = 1;
    CHECK_THAT(refusal(book), Catch::Contains("description:"));
}

TEST_CASE("the head of a book is checked for its range and its letters") {
    for (const json& version : {json(0), json(-1), json(1.5), json(4294967296), json("1")}) {
        json book = valid();
        book["version"] = version;
        CHECK_THAT(refusal(book), Catch::Contains("version:"));
    }
    for (const char* name : {"", "a b", "a@1", "a/b"}) {
        json book = valid();
        book["name"] = name;
        CHECK_THAT(refusal(book), Catch::Contains("name:"));
    }
    json book = valid();
    book["name"] = std::string(65, 'a');
    CHECK_THAT(refusal(book), Catch::Contains("name:"));
    for (const char* currency : {"usd", "US", "USDT", "U1D"}) {
        book = valid();
        book["currency"] = currency;
        CHECK_THAT(refusal(book), Catch::Contains("currency:"));
    }
}

TEST_CASE("text that is not one JSON object is refused") {
    for (const char* text : {"", "[]", "{", "null", "{} {}", "\"x\"", "{\"name\":}"}) {
        INFO(text);
        CHECK(!parse_price_book(text));
    }
}

TEST_CASE("of two prices for one thing neither is taken") {
    const auto result = parse_price_book(
        R"({"name":"a","version":1,"currency":"USD","prices":{"gpu_second":"1","gpu_second":"2"}})");
    REQUIRE(!result);
    CHECK_THAT(result.error().message(), Catch::Contains("gpu_second is there twice"));
    // The same key on two levels is two keys.
    CHECK_THAT(
        refusal({{"name", "a"}, {"version", 1}, {"currency", "USD"}, {"prices", {{"name", "1"}}}}),
        Catch::Contains("unknown key prices.name"));
}

TEST_CASE("the shipped price book is valid and says where its prices come from") {
    const auto text = sys::read_file(SANDBOXD_DEFAULT_PRICE_BOOK);
    REQUIRE(text);
    const auto book = parse_price_book(*text);
    REQUIRE(book);
    CHECK(book->id() == "default@1");
    CHECK(book->currency == "USD");
    CHECK(book->cpu_second == 14'000'000);
    CHECK(book->memory_gib_second == 4'500'000);
    CHECK(json::parse(*text)["description"].get<std::string>().find("E2B") != std::string::npos);
}

TEST_CASE("money is written with at least six decimals, and exactly") {
    CHECK(to_decimal(0) == "0.000000");
    CHECK(to_decimal(123'000'000) == "0.000123");
    CHECK(to_decimal(123'000'001) == "0.000123000001");
    CHECK(to_decimal(100) == "0.0000000001");
    CHECK(to_decimal(1) == "0.000000000001");
    CHECK(to_decimal(2'500'000'000'000) == "2.500000");
    CHECK(to_decimal(-1) == "-0.000000000001");
    CHECK(to_decimal(std::numeric_limits<PicoMoney>::max()) == "9223372.036854775807");
    CHECK(to_decimal(std::numeric_limits<PicoMoney>::min()) == "-9223372.036854775808");
}

TEST_CASE("a price that was read is written back as it was") {
    for (const char* text : {"0.000014", "0.0000045", "12.345678901234", "999999.999999999999"}) {
        json book = valid();
        book["prices"]["egress_gib"] = text;
        const auto parsed = parse_price_book(book.dump());
        REQUIRE(parsed);
        CHECK(to_decimal(static_cast<PicoMoney>(parsed->egress_gib)) == text);
    }
}

}  // namespace
}  // namespace sandboxd::policies
