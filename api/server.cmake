# The HTTP server, the only user of Beast. What holds no Beast is kept out of the files that do: they compile slowly.
sandboxd_library(sandboxd_api_server
    SOURCES access.cpp beast_impl.cpp connection.cpp http_exchange.cpp idempotency.cpp router.cpp server.cpp session.cpp web_socket.cpp
    HEADERS access.hpp connection.hpp http_exchange.hpp hub.hpp idempotency.hpp router.hpp server.hpp session.hpp transport.hpp web_socket.hpp
    LINK sandboxd_api_values OpenSSL::SSL
    PRIVATE_LINK nlohmann_json::nlohmann_json)
if(TARGET sandboxd_api_exec AND TARGET sandboxd_api_resources)
    sandboxd_library(sandboxd_api_lib
        SOURCES all_routes.cpp
        HEADERS exec_routes.hpp resource_routes.hpp openapi.hpp
        LINK sandboxd_api_server sandboxd_api_exec sandboxd_api_resources
        PRIVATE_LINK nlohmann_json::nlohmann_json)
endif()
