if(TARGET sandboxd_api_resources)
    sandboxd_unit_test(api_server_unit_test
        SOURCES server_bench.cpp server_http_test.cpp server_idempotency_test.cpp server_limits_test.cpp server_router_test.cpp server_web_socket_test.cpp
        LINK sandboxd_api_server sandboxd_api_exec sandboxd_api_resources nlohmann_json::nlohmann_json)
endif()
