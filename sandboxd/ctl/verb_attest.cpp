#include <unistd.h>
#include <CLI/CLI.hpp>
#include <array>
#include <nlohmann/json.hpp>

#include "sandboxd/core/sys.hpp"
#include "sandboxd/ctl/answer.hpp"
#include "sandboxd/ctl/attestation.hpp"
#include "sandboxd/ctl/console.hpp"
#include "sandboxd/ctl/session.hpp"

namespace sandboxd::ctl {

namespace {

using nlohmann::json;

struct AttestOptions {
    bool fresh = false;
    std::string key;
};

Result<std::string> make_nonce() {
    std::array<std::byte, 16> random{};
    SBX_CHECK(sys::fill_random(random));
    constexpr std::string_view kHex = "0123456789abcdef";
    std::string out;
    for (const std::byte byte : random) {
        out += kHex[std::to_integer<unsigned>(byte) >> 4];
        out += kHex[std::to_integer<unsigned>(byte) & 15];
    }
    return out;
}

Colour colour_of(const std::string& status) {
    if (status == "holds") return Colour::green;
    return status == "absent" ? Colour::dim : Colour::red;
}

bool holds(const json& document) {
    return text_of(document, "verdict") == "holds";
}

std::string table_of(const json& document, Palette palette) {
    Table table{{{"WALL"}, {"STATUS"}, {"NEEDED"}, {"SEEN"}, {"OBSERVED"}}};
    const json walls = document.value("walls", json::array());
    for (const json& wall : walls) {
        const std::string status = text_of(wall, "status");
        const bool required = wall.value("required", true);
        table.add({{text_of(wall, "name")},
                   {status, colour_of(status)},
                   {required ? "yes" : "no", required ? Colour::none : Colour::dim},
                   {text_of(wall, "seen")},
                   {text_of(wall, "observed")}});
    }
    return table.text(palette);
}

std::string summary_of(const json& document, const json& answer, bool trusted, Palette palette) {
    const std::string verdict = text_of(document, "verdict");
    std::string out =
        "\nverdict    " + paint(printable(verdict), colour_of(verdict), palette) + '\n';
    const auto line = [&](std::string title, const std::string& text) {
        title.resize(11, ' ');
        out += title + printable(text) + '\n';
    };
    line("tested", text_of(document, "tested_at") + ", issued " + text_of(document, "issued_at"));
    line("on", "sandboxd " + text_of(document, "version") + ", Linux " +
                   text_of(document, "kernel") + " " + text_of(document, "machine"));
    line("signature", "valid, key " + text_of(answer, "fingerprint"));
    if (!trusted)
        out += paint(
            "           that key came with the answer: compare it with one that you trust "
            "(--verify)\n",
            Colour::dim, palette);
    return out;
}

Result<int> attest(const Session& session, const AttestOptions& options) {
    std::string trusted;
    if (!options.key.empty()) {
        SBX_TRY(trusted, fingerprint_of(options.key));
    }
    SBX_TRY(const std::string nonce, make_nonce());
    SBX_TRY(ApiClient api, session.api());
    SBX_TRY(const json answer,
            api.get("/v1/attest?nonce=" + nonce + (options.fresh ? "&fresh=true" : "")));
    SBX_TRY(const json document, check_attestation(answer, nonce, trusted));
    if (session.json) {
        json out = answer;
        out["attestation"] = document;
        out["signature_valid"] = true;
        out["key_trusted"] = !trusted.empty();
        print_json(out);
    } else {
        const Palette palette = palette_of(STDOUT_FILENO);
        print(table_of(document, palette) +
              summary_of(document, answer, !trusted.empty(), palette));
    }
    return holds(document) ? 0 : 1;
}

}  // namespace

void add_attest(CLI::App& app, Session& session) {
    CLI::App& verb = *app.add_subcommand(
        "attest", "Which walls hold on the daemon's machine, by its signed self-test");
    auto options = std::make_shared<AttestOptions>();
    verb.add_flag("--fresh", options->fresh, "test now instead of showing the last result");
    verb.add_option("--verify", options->key,
                    "the key that must have signed: its fingerprint (sha256:…), or a file with it")
        ->type_name("KEY");
    verb.footer(
        "The signature is always checked, and that the answer is no old one. The exit code is 1 "
        "when a wall that is needed does not hold, or when the signature is not good.\n\n"
        "Example: sandboxctl attest --verify sha256:4f1c…");
    verb.callback([options, &session] {
        session.action = [options, &session] { return attest(session, *options); };
    });
}

}  // namespace sandboxd::ctl
