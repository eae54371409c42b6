# JSON, errors and schemas: what every resource speaks.
sandboxd_library(sandboxd_api_values
    SOURCES errors.cpp json.cpp json_text.cpp sandbox_ref.cpp schema.cpp schema_text.cpp
    HEADERS errors.hpp exchange.hpp json.hpp json_text.hpp metrics.hpp route.hpp sandbox_ref.hpp schema.hpp schema_text.hpp
    LINK sandboxd_engine sandboxd_ledger sandboxd_policies sandboxd_core
    PRIVATE_LINK nlohmann_json::nlohmann_json)
