#include <iostream>
#include <nlohmann/json.hpp>

#include "api/openapi.hpp"
#include "tests/unit/api/every_route.hpp"

// The OpenAPI document, for a validator that is not ours.
int main() {
    std::cout << sandboxd::api::openapi_document(sandboxd::api::testing::every_route()).dump(1) << '\n';
    return std::cout.good() ? 0 : 1;
}
