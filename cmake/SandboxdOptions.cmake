# One INTERFACE target carries every compiler option of ours, so that third-party headers and the
# jail's init can opt out. Sanitizers are chosen by preset through SANDBOXD_SANITIZE.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

set(SANDBOXD_SANITIZE "" CACHE STRING "address, undefined or thread")
option(SANDBOXD_WERROR "Treat warnings as errors" OFF)

include(CheckPIESupported)
check_pie_supported()

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
    # pch_defines,time_macros: what ccache needs to cache compilations that use a precompiled header.
    set(CMAKE_CXX_COMPILER_LAUNCHER
        ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
        CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1 ${CCACHE_PROGRAM})
endif()

add_library(sandboxd_warnings INTERFACE)
target_compile_options(sandboxd_warnings INTERFACE -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion)
if(SANDBOXD_WERROR)
    target_compile_options(sandboxd_warnings INTERFACE -Werror)
endif()

add_library(sandboxd_options INTERFACE)
target_include_directories(sandboxd_options INTERFACE "${CMAKE_SOURCE_DIR}")
target_link_libraries(sandboxd_options INTERFACE sandboxd_warnings)
target_compile_options(sandboxd_options INTERFACE -fstack-protector-strong -fno-omit-frame-pointer)
target_link_options(sandboxd_options INTERFACE -Wl,-z,relro,-z,now -Wl,--as-needed)
target_compile_definitions(sandboxd_options INTERFACE
    BOOST_ASIO_NO_DEPRECATED BOOST_ASIO_SEPARATE_COMPILATION BOOST_ASIO_HAS_STD_INVOKE_RESULT
    BOOST_BEAST_SEPARATE_COMPILATION)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    target_compile_options(sandboxd_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-fcoroutines>)
endif()
if(SANDBOXD_SANITIZE)
    target_compile_options(sandboxd_options INTERFACE -fsanitize=${SANDBOXD_SANITIZE} -fno-sanitize-recover=all)
    target_link_options(sandboxd_options INTERFACE -fsanitize=${SANDBOXD_SANITIZE})
    if(SANDBOXD_SANITIZE STREQUAL "thread" AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
        # g++ 12 warns on Asio's atomic_thread_fence, which TSan does not model.
        target_compile_options(sandboxd_options INTERFACE -Wno-tsan)
    endif()
else()
    target_compile_options(sandboxd_options INTERFACE $<$<CONFIG:Release,RelWithDebInfo>:-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2>)
endif()
target_compile_definitions(sandboxd_options INTERFACE $<$<NOT:$<CONFIG:Release>>:_GLIBCXX_ASSERTIONS>)

# sandboxd_library(NAME SOURCES ... HEADERS ... LINK ...): a static library whose headers are checked
# to be self-contained.
function(sandboxd_library name)
    cmake_parse_arguments(ARG "" "" "SOURCES;HEADERS;LINK;PRIVATE_LINK" ${ARGN})
    if(ARG_SOURCES)
        add_library(${name} STATIC ${ARG_SOURCES})
        set(scope PUBLIC)
        target_link_libraries(${name} PRIVATE ${ARG_PRIVATE_LINK})
    else()
        add_library(${name} INTERFACE)
        set(scope INTERFACE)
    endif()
    target_sources(${name} ${scope} FILE_SET HEADERS BASE_DIRS "${CMAKE_SOURCE_DIR}" FILES ${ARG_HEADERS})
    target_link_libraries(${name} ${scope} sandboxd_options ${ARG_LINK})
endfunction()
