# Runs, programs and files: the handlers that move a sandbox's bytes, and the attestation, which needs their encodings.
sandboxd_library(sandboxd_api_exec
    SOURCES attest.cpp code.cpp exec.cpp exec_answer.cpp exec_output.cpp exec_params.cpp exec_request.cpp exec_schema.cpp exec_serve.cpp
            exec_socket.cpp exec_stdin.cpp files.cpp files_content.cpp files_range.cpp files_watch.cpp run.cpp
            stream_encoding.cpp stream_events.cpp stream_exec.cpp stream_race.cpp stream_reader.cpp
    HEADERS code.hpp exec_answer.hpp exec_params.hpp exec_request.hpp exec_routes.hpp exec_schema.hpp exec_serve.hpp
            exec_socket.hpp exec_stdin.hpp files_info.hpp files_range.hpp stream_encoding.hpp stream_events.hpp stream_exec.hpp
            stream_race.hpp stream_reader.hpp
    LINK sandboxd_api_values
    PRIVATE_LINK nlohmann_json::nlohmann_json)
