# Sandboxes, usage, administration and operations: the handlers that move figures and records. And what is made from the
# whole table of routes: the OpenAPI document.
sandboxd_library(sandboxd_api_resources
    SOURCES admin.cpp admin_drain.cpp admin_keys.cpp admin_tenants.cpp metrics.cpp openapi.cpp openapi_schema.cpp operations.cpp
            paging.cpp process_figures.cpp request_body.cpp sandbox_list.cpp sandbox_request.cpp sandboxes.cpp usage.cpp
    HEADERS admin_handlers.hpp openapi.hpp openapi_schema.hpp paging.hpp process_figures.hpp request_body.hpp resource_routes.hpp
            sandbox_list.hpp sandbox_request.hpp
    LINK sandboxd_api_values
    PRIVATE_LINK nlohmann_json::nlohmann_json prometheus-cpp::core)
target_include_directories(sandboxd_api_resources PRIVATE "${CMAKE_BINARY_DIR}/generated")  # sandboxd/version.hpp
