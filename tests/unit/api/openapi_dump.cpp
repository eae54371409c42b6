#include <iostream>
#include <nlohmann/json.hpp>

#include "api/openapi.hpp"
#include "api/server.hpp"

// The OpenAPI document, for a validator that is not ours.
int main() {
    std::cout << sandboxd::api::openapi_document(sandboxd::api::all_routes()).dump(1) << '\n';
    return std::cout.good() ? 0 : 1;
}
