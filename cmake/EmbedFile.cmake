# sandboxd_embed(OUT.cpp FUNCTION FILE ...): a source file that returns each file's text, for data of policies/ that the
# programs must have without looking for it on disk.
function(sandboxd_embed out)
    set(text "#include \"sandboxd/programs.hpp\"\n\nnamespace sandboxd {\n")
    set(pairs ${ARGN})
    while(pairs)
        list(POP_FRONT pairs function file)
        set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${file}")
        file(READ "${file}" content)
        string(APPEND text "\nstd::string_view ${function}() noexcept { return R\"sbx(${content})sbx\"; }\n")
    endwhile()
    string(APPEND text "\n}  // namespace sandboxd\n")
    file(CONFIGURE OUTPUT "${out}" CONTENT "${text}" @ONLY)
endfunction()
