# Where things go on an installed system, and the .deb: cmake --preset release && ninja -C build/release package
#
# People call sandboxd and sandboxctl; the others are only ever started or shown to sandboxes by sandboxd, which looks beside itself first
# and then in /usr/libexec/sandboxd.
include(GNUInstallDirs)

set(SANDBOXD_LIBEXEC "${CMAKE_INSTALL_LIBEXECDIR}/sandboxd")
foreach(program sandboxd sandboxctl)
    if(TARGET ${program})
        install(TARGETS ${program} RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
    endif()
endforeach()
foreach(program sandboxd-api sandbox-init sandbox-probe sandbox-sudo)
    if(TARGET ${program})
        install(TARGETS ${program} RUNTIME DESTINATION "${SANDBOXD_LIBEXEC}")
    endif()
endforeach()

set(packaging "${CMAKE_SOURCE_DIR}/packaging")
install(FILES "${packaging}/sandboxd.service" DESTINATION lib/systemd/system)
install(FILES "${packaging}/sandboxd.sysusers" DESTINATION lib/sysusers.d RENAME sandboxd.conf)
install(FILES "${packaging}/sandboxd.tmpfiles" DESTINATION lib/tmpfiles.d RENAME sandboxd.conf)
install(FILES "${packaging}/config.toml" DESTINATION /etc/sandboxd PERMISSIONS OWNER_READ OWNER_WRITE)
install(DIRECTORY "${CMAKE_SOURCE_DIR}/policies/" DESTINATION "${CMAKE_INSTALL_DATADIR}/sandboxd/policies"
        FILES_MATCHING PATTERN "*.json")
install(FILES "${CMAKE_SOURCE_DIR}/README.md" "${CMAKE_SOURCE_DIR}/CHANGELOG.md" DESTINATION "${CMAKE_INSTALL_DOCDIR}")
install(DIRECTORY "${CMAKE_SOURCE_DIR}/docs/" DESTINATION "${CMAKE_INSTALL_DOCDIR}" FILES_MATCHING PATTERN "*.md"
        PATTERN "README.md" EXCLUDE)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME sandboxd)
set(CPACK_PACKAGE_VERSION "${PROJECT_VERSION}")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "${PROJECT_DESCRIPTION}")
set(CPACK_PACKAGE_CONTACT "sandboxd maintainers <maintainers@sandboxd.invalid>")
# The configuration goes to /etc, an absolute path: staged, or it would be written to this machine.
set(CPACK_SET_DESTDIR ON)
set(CPACK_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION admin)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_DEPENDS "adduser")
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "btrfs-progs, python3, ca-certificates")
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA "${packaging}/debian/postinst;${packaging}/debian/prerm;${packaging}/debian/postrm;${packaging}/debian/conffiles")
include(CPack)
