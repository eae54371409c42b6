# cmake -DNM=... -DOBJECT=... -P this: fails when the object needs any symbol of another. The offset table of a
# position-independent object is the linker's own.
execute_process(COMMAND ${NM} --undefined-only --format=posix ${OBJECT} OUTPUT_VARIABLE found RESULT_VARIABLE failed)
if(failed)
    message(FATAL_ERROR "nm failed on ${OBJECT}")
endif()
string(REGEX REPLACE "_GLOBAL_OFFSET_TABLE_ [^\n]*\n" "" found "${found}")
if(NOT found STREQUAL "")
    message(FATAL_ERROR "${OBJECT} refers to:\n${found}")
endif()
execute_process(COMMAND ${NM} --defined-only --format=posix ${OBJECT} OUTPUT_VARIABLE defined RESULT_VARIABLE failed)
if(failed OR NOT defined MATCHES "run_trampoline")
    message(FATAL_ERROR "${OBJECT} does not hold the trampoline")
endif()
