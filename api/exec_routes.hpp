#pragma once

#include <boost/asio/awaitable.hpp>
#include <span>

#include "api/route.hpp"

namespace sandboxd::api {

[[nodiscard]] std::span<const Route> run_routes() noexcept;    // POST /v1/run
[[nodiscard]] std::span<const Route> exec_routes() noexcept;   // /v1/sandboxes/{id}/exec…
[[nodiscard]] std::span<const Route> files_routes() noexcept;  // /v1/sandboxes/{id}/files…

// Handlers of exec_routes() that stand in files of their own.
[[nodiscard]] asio::awaitable<Result<void>> get_exec_output(Exchange& exchange);
[[nodiscard]] asio::awaitable<Result<void>> exec_socket(Exchange& exchange);
// And of files_routes().
[[nodiscard]] asio::awaitable<Result<void>> get_file(Exchange& exchange);
[[nodiscard]] asio::awaitable<Result<void>> put_file(Exchange& exchange);
[[nodiscard]] asio::awaitable<Result<void>> watch_files(Exchange& exchange);

}  // namespace sandboxd::api
