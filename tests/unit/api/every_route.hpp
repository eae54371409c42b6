#pragma once

#include <vector>

#include "api/exec_routes.hpp"
#include "api/resource_routes.hpp"

namespace sandboxd::api::testing {

inline std::vector<Route> every_route() {
    std::vector<Route> out;
    for (const auto table : {sandbox_routes(), usage_routes(), admin_routes(), operations_routes(), run_routes(), exec_routes(), files_routes()}) {
        out.insert(out.end(), table.begin(), table.end());
    }
    return out;
}

}  // namespace sandboxd::api::testing
