#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "sandboxd/core/ids.hpp"

// Whatever is accepted as an id has the right alphabet and length, and an exec id has exactly one spelling.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text{reinterpret_cast<const char*>(data), size};
    const auto harmless = [&] { return text.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789") == text.npos; };
    if (sandboxd::decode_id(text) && (size != sandboxd::kIdLength || !harmless())) std::abort();
    if (sandboxd::parse_sandbox_id(text, {}) && (size < 8 || size > 40 || !harmless())) std::abort();
    if (auto number = sandboxd::exec_number(text); number && sandboxd::exec_id_from_number(*number).str() != text) std::abort();
    if (sandboxd::parse_tenant_id(text) && (size == 0 || size > 40)) std::abort();
    return 0;
}
