sandboxd_unit_test(api_resources_unit_test
    SOURCES resource_admin_test.cpp resource_openapi_test.cpp resource_operations_test.cpp resource_sandboxes_test.cpp resource_usage_test.cpp
    LINK sandboxd_api_lib nlohmann_json::nlohmann_json)

add_executable(api_openapi_dump openapi_dump.cpp)
target_link_libraries(api_openapi_dump PRIVATE sandboxd_options sandboxd_api_lib nlohmann_json::nlohmann_json)
add_dependencies(unit_tests api_openapi_dump)
find_package(Python3 COMPONENTS Interpreter QUIET)
if(Python3_FOUND)
    add_test(NAME api_openapi_valid COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/openapi_valid.py $<TARGET_FILE:api_openapi_dump>)
    set_tests_properties(api_openapi_valid PROPERTIES LABELS unit SKIP_RETURN_CODE 77 TIMEOUT 60)
endif()
