#include "isolation/cgroup_limits.hpp"

#include <sys/sysmacros.h>

#include <catch2/catch.hpp>

#include "isolation/cgroup_folder.hpp"
#include "isolation/cgroup_unified.hpp"
#include "tests/unit/isolation/result_printer.hpp"

namespace sandboxd::isolation::test {

namespace {

constexpr std::uint64_t kMiB = 1 << 20;
CgroupLimits usual() {
    return {512 * kMiB, 1500, 256, 0};
}

std::size_t index_of(const ControlWrites& writes, const std::string& file) {
    for (std::size_t i = 0; i < writes.size(); ++i) {
        if (writes[i].file == file) return i;
    }
    FAIL(file << " is not written");
    return 0;
}

}  // namespace

TEST_CASE("memory and swap keep their order, growing and shrinking: memsw is never below limit") {
    const auto grow = v1_memory_writes(64 * kMiB, MemoryChange::grow);
    CHECK(index_of(grow, "memory.memsw.limit_in_bytes") < index_of(grow, "memory.limit_in_bytes"));
    const auto shrink = v1_memory_writes(64 * kMiB, MemoryChange::shrink);
    CHECK(index_of(shrink, "memory.limit_in_bytes") <
          index_of(shrink, "memory.memsw.limit_in_bytes"));
    for (const auto& writes : {grow, shrink}) {
        CHECK(writes[index_of(writes, "memory.limit_in_bytes")] ==
              ControlWrite{"memory.limit_in_bytes", "67108864", false});
        CHECK(writes[index_of(writes, "memory.memsw.limit_in_bytes")].optional);
        CHECK(writes[index_of(writes, "memory.swappiness")] ==
              ControlWrite{"memory.swappiness", "0", false});
        CHECK(writes[index_of(writes, "memory.kmem.tcp.limit_in_bytes")].value == "8388608");
    }
    CHECK(v1_memory_writes(16 * kMiB, MemoryChange::grow).back().value ==
          "4194304");  // TCP's least
}

TEST_CASE("a share of the CPU is a quota of a period of 100 ms") {
    CHECK(v1_cpu_writes(1500) ==
          ControlWrites{{"cpu.cfs_period_us", "100000"}, {"cpu.cfs_quota_us", "150000"}});
    CHECK(v1_cpu_writes(10)[1].value == "1000");
    CHECK(v1_cpu_writes(4096000)[1].value == "409600000");
    CHECK(v2_cpu_writes(250) == ControlWrites{{"cpu.max", "25000 100000"}});
}

TEST_CASE("v2 writes memory without swap, pids and io") {
    CHECK(v2_memory_writes(kMiB) == ControlWrites{{"memory.max", "1048576"},
                                                  {"memory.swap.max", "0", true},
                                                  {"memory.zswap.max", "0", true}});
    CHECK(pids_writes(256) == ControlWrites{{"pids.max", "256"}});
    CHECK(v2_io_writes(5000, makedev(7, 3)) ==
          ControlWrites{{"io.max", "7:3 rbps=5000 wbps=5000"}});
    CHECK(v2_io_writes(0, makedev(7, 3)) == ControlWrites{{"io.max", "7:3 rbps=max wbps=max"}});
    CHECK(v1_io_writes(5000, makedev(259, 1)) ==
          ControlWrites{{"blkio.throttle.read_bps_device", "259:1 5000"},
                        {"blkio.throttle.write_bps_device", "259:1 5000"}});
}

TEST_CASE("devices: everything is denied first, and nothing may be made") {
    const auto writes = v1_device_writes();
    CHECK(writes.front() == ControlWrite{"devices.deny", "a"});
    for (std::size_t i = 1; i < writes.size(); ++i) {
        CHECK(writes[i].file == "devices.allow");
        CHECK(writes[i].value.ends_with(" rw"));
        CHECK(writes[i].value.starts_with("c "));
    }
}

TEST_CASE("limits that would mean none, or that the kernel can't hold, are refused and named") {
    CHECK(check_limits(usual()));
    const auto refused = [](CgroupLimits limits, const std::string& name) {
        const auto result = check_limits(limits);
        REQUIRE_FALSE(result);
        CHECK(result.error().is(Errc::invalid_argument));
        CHECK(std::get<std::string>(result.error().facts().at(0).second) == name);
    };
    CgroupLimits limits = usual();
    limits.memory_bytes = 0;
    refused(limits, "memory_bytes");
    limits.memory_bytes = UINT64_MAX;
    refused(limits, "memory_bytes");
    limits = usual();
    limits.cpu_milli = 0;
    refused(limits, "cpu_milli");
    limits.cpu_milli = 9;
    refused(limits, "cpu_milli");
    limits = usual();
    limits.pids = 0;
    refused(limits, "pids");
    limits.pids = UINT32_MAX;
    refused(limits, "pids");
}

TEST_CASE("a key of a flat-keyed file is read whole") {
    CHECK(get(flat_key("populated 1\nfrozen 0\n", "frozen")) == 0);
    CHECK(get(flat_key("populated 1\nfrozen 0", "populated")) == 1);
    CHECK(get(flat_key("a 18446744073709551615\n", "a")) == UINT64_MAX);
    CHECK_FALSE(flat_key("populated 1\n", "pop"));
    CHECK_FALSE(flat_key("populated\n", "populated"));
    CHECK_FALSE(flat_key("populated one\n", "populated"));
    CHECK_FALSE(flat_key("populated 1x\n", "populated"));
    CHECK_FALSE(flat_key("", "populated"));
}

TEST_CASE("a group's name is one component that can't be taken for another path or option") {
    for (const char* good : {"a", "sbx0123", "sandboxd-dev_1.2", "A"})
        CHECK(check_group_name(good));
    for (const std::string& bad :
         {std::string{}, std::string{"."}, std::string{".."}, std::string{"a/b"}, std::string{".a"},
          std::string{"a b"}, std::string{"a\0b", 3}, std::string{"a\n"}, std::string(129, 'a')}) {
        INFO(bad);
        CHECK_FALSE(check_group_name(bad));
    }
}

}  // namespace sandboxd::isolation::test
