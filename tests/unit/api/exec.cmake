sandboxd_unit_test(api_exec_unit_test
    SOURCES exec_files_test.cpp exec_post_test.cpp exec_run_test.cpp exec_socket_test.cpp exec_stream_test.cpp
    LINK sandboxd_api_exec nlohmann_json::nlohmann_json)
