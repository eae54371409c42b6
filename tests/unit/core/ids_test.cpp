#include "sandboxd/core/ids.hpp"

#include <catch2/catch.hpp>
#include <random>
#include <set>

namespace sandboxd {
namespace {

constexpr NodeIdentity kHere{7, 3, 123456, 99};
constexpr std::string_view kAlphabet = "0123456789abcdefghjkmnpqrstvwxyz";

TEST_CASE("an id says its kind and where it was made") {
    const NodeIdentity most{255, 31, (1U << 20) - 1, (1U << 15) - 1};
    for (const NodeIdentity& node : {NodeIdentity{}, kHere, most}) {
        for (const IdKind kind :
             {IdKind::sandbox, IdKind::exec, IdKind::snapshot, IdKind::key, IdKind::request}) {
            const std::string id = generate_id(kind, node);
            CHECK(id.size() == kIdLength);
            const auto decoded = decode_id(id);
            REQUIRE(decoded);
            CHECK(*decoded == DecodedId{kind, node});
        }
    }
}

TEST_CASE("ids match the pattern of the API and never repeat") {
    std::set<std::string> seen;
    for (int i = 0; i < 2000; ++i) {
        const std::string id = generate_id(IdKind::sandbox, kHere);
        CHECK(seen.insert(id).second);
        CHECK(id.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789") == std::string::npos);
        // All but the random and the check digits are the same.
        CHECK(id.substr(0, 11) == seen.begin()->substr(0, 11));
    }
}

TEST_CASE("nearly every slip of the pen is caught by the check digits") {
    std::mt19937 random{1};
    int caught = 0;
    int tried = 0;
    for (int i = 0; i < 300; ++i) {
        const std::string id = generate_id(IdKind::sandbox, kHere);
        for (std::size_t at = 1; at < id.size(); ++at) {
            std::string slip = id;
            do slip[at] = kAlphabet[random() % kAlphabet.size()];
            while (slip[at] == id[at]);
            ++tried;
            if (!decode_id(slip)) ++caught;
        }
        std::string swapped = id;
        std::swap(swapped[12], swapped[13]);
        if (swapped == id) continue;
        ++tried;
        if (!decode_id(swapped)) ++caught;
    }
    // Ten bits let one in 1024 through.
    CHECK(tried - caught < tried / 200);
}

TEST_CASE("what is no id is refused without reading past its end") {
    const std::string id = generate_id(IdKind::sandbox, kHere);
    for (const std::string& bad :
         {std::string{}, std::string{"s"}, id.substr(1), id + "0", "x" + id.substr(1),
          "S" + id.substr(1), std::string(26, '\0'), std::string(26, 's')}) {
        const auto result = decode_id(bad);
        REQUIRE(!result);
        CHECK(result.error().is(Errc::invalid_argument));
    }
    for (const char letter : {'i', 'l', 'o', 'u', 'A', '-', '\xff'}) {
        for (std::size_t at = 1; at < id.size(); ++at) {
            std::string bad = id;
            bad[at] = letter;
            CHECK(!decode_id(bad));
        }
    }
    std::mt19937 random{2};
    for (int i = 0; i < 20000; ++i) {
        std::string noise(random() % 40, '\0');
        for (char& c : noise) c = static_cast<char>(random());
        (void)decode_id(noise);
        (void)exec_number(noise);
        (void)parse_tenant_id(noise);
        (void)parse_sandbox_id(noise, kHere);
    }
}

TEST_CASE("a sandbox id is one of this node and epoch, or one that a caller chose") {
    const std::string mine = generate_id(IdKind::sandbox, kHere);
    const auto own = parse_sandbox_id(mine, kHere);
    REQUIRE(own);
    CHECK(own->str() == mine);
    for (const char* chosen :
         {"abcdefgh", "12345678", "my0sandbox0of0forty0characters0in0length"}) {
        CHECK(parse_sandbox_id(chosen, kHere));
    }
    NodeIdentity earlier = kHere;
    --earlier.epoch;
    NodeIdentity other = kHere;
    ++other.node;
    for (const NodeIdentity& node : {earlier, other}) {
        const auto lost = parse_sandbox_id(generate_id(IdKind::sandbox, node), kHere);
        REQUIRE(!lost);
        CHECK(lost.error().is(Errc::node_lost));
    }
    const auto key = parse_sandbox_id(generate_id(IdKind::key, kHere), kHere);
    REQUIRE(!key);
    CHECK(key.error().is(Errc::invalid_argument));
    for (const char* bad :
         {"", "short12", "Uppercase", "with-dash", "with_underscore", "../../etc/passwd",
          "abcdefgh ", "my0sandbox0of0forty0one0characters0in0all"}) {
        const auto result = parse_sandbox_id(bad, kHere);
        INFO(bad);
        REQUIRE(!result);
        CHECK(result.error().is(Errc::invalid_argument));
    }
    // A mistyped id of ours is taken for one that a caller chose: it names nothing, so the answer
    // is 404.
    std::string slip = mine;
    slip.back() = slip.back() == '0' ? '1' : '0';
    CHECK(parse_sandbox_id(slip, kHere));
}

TEST_CASE("a tenant id begins with a letter or digit and is at most 40 long") {
    for (const char* good :
         {"a", "0", "dev", "acme-corp_1", "a23456789a123456789a123456789a123456789a"}) {
        CHECK(parse_tenant_id(good));
    }
    for (const char* bad : {"", "-a", "_a", "A", "a b", "a/b", "a.b", "ä",
                            "a23456789a123456789a123456789a123456789a1"}) {
        INFO(bad);
        CHECK(!parse_tenant_id(bad));
    }
}

TEST_CASE("an exec id is its number, in 13 digits") {
    for (const std::uint64_t number : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{31},
                                       std::uint64_t{32}, std::uint64_t{1} << 63, UINT64_MAX}) {
        const ExecId id = exec_id_from_number(number);
        CHECK(id.str().size() == 13);
        const auto back = exec_number(id.str());
        REQUIRE(back);
        CHECK(*back == number);
    }
    CHECK(exec_id_from_number(0).str() == "0000000000000");
    CHECK(exec_id_from_number(UINT64_MAX).str() == "fzzzzzzzzzzzz");
    // Numeric order is the order of the text.
    CHECK(exec_id_from_number(31) < exec_id_from_number(32));
    for (const char* bad :
         {"", "0", "00000000000000", "g000000000000", "000000000000i", "00000000000 0"}) {
        const auto result = exec_number(bad);
        INFO(bad);
        REQUIRE(!result);
        CHECK(result.error().is(Errc::not_found));
    }
}

}  // namespace
}  // namespace sandboxd
