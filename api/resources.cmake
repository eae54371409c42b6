# Sandboxes, usage, administration and operations: the handlers that move figures and records.
sandboxd_library(sandboxd_api_resources
    SOURCES paging.cpp sandbox_list.cpp sandbox_request.cpp sandboxes.cpp
    HEADERS paging.hpp resource_routes.hpp sandbox_list.hpp sandbox_request.hpp
    LINK sandboxd_api_values
    PRIVATE_LINK nlohmann_json::nlohmann_json)
