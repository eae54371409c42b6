#include "sandboxd/ctl/session.hpp"

#include <nlohmann/json.hpp>

#include "sandboxd/ctl/console.hpp"

namespace sandboxd::ctl {

Result<ApiClient> Session::api() const {
    SBX_TRY(Target target, resolve_target(wanted));
    return ApiClient{std::move(target)};
}

void print_json(const nlohmann::json& document) {
    print(document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + '\n');
}

}  // namespace sandboxd::ctl
