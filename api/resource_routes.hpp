#pragma once

#include <span>

#include "api/route.hpp"

namespace sandboxd::api {

[[nodiscard]] std::span<const Route> sandbox_routes() noexcept;     // /v1/sandboxes…, without exec and files
[[nodiscard]] std::span<const Route> usage_routes() noexcept;       // /v1/usage, /v1/templates
[[nodiscard]] std::span<const Route> admin_routes() noexcept;       // /v1/admin/…
[[nodiscard]] std::span<const Route> attest_routes() noexcept;      // /v1/attest
[[nodiscard]] std::span<const Route> operations_routes() noexcept;  // /healthz, /readyz, /metrics

}  // namespace sandboxd::api
