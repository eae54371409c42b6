sandboxd_unit_test(api_resources_unit_test
    SOURCES resource_sandboxes_test.cpp
    LINK sandboxd_api_resources sandboxd_api_exec nlohmann_json::nlohmann_json)
