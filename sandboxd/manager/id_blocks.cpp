#include "sandboxd/manager/id_blocks.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <memory>

#include "sandboxd/core/sys.hpp"

namespace sandboxd::manager {

namespace {

constexpr const char* kSlotsDir = "/run/sandboxd/slots";
constexpr std::uint32_t kFirstSlot = 1;
constexpr std::uint32_t kLastSlot = 15;
// Below systemd's dynamic users (61184) and above what distributions assign.
constexpr std::uint32_t kApiFallbackBase = 60900;
constexpr std::uint32_t kProbeBase = 60916;

bool records_sandboxes(const std::string& state_dir) {
    const std::unique_ptr<DIR, int (*)(DIR*)> dir{::opendir((state_dir + "/sandboxes").c_str()), ::closedir};
    if (!dir) return false;
    while (const dirent* entry = ::readdir(dir.get())) {
        if (entry->d_name[0] != '.') return true;
    }
    return false;
}

// The lock when the slot is ours now; an invalid Fd when somebody else has it.
Result<Fd> try_slot(std::uint32_t slot, const std::string& state_dir) {
    const std::string path = std::string{kSlotsDir} + "/" + std::to_string(slot);
    SBX_TRY(Fd file, sys::open(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
    SBX_TRY(const bool locked, sys::try_lock(file.get()));
    if (!locked) return Fd{};
    SBX_TRY(const std::string owner, sys::read_file(path, 4096));
    if (!owner.empty() && owner != state_dir && records_sandboxes(owner)) return Fd{};
    if (owner != state_dir) {
        if (::ftruncate(file.get(), 0) != 0) return errno_error("ftruncate", path);
        SBX_CHECK(sys::write_all(file.get(), std::as_bytes(std::span{state_dir})));
    }
    return file;
}

std::uint32_t remembered_slot(const std::string& state_dir) {
    for (std::uint32_t slot = kFirstSlot; slot <= kLastSlot; ++slot) {
        auto owner = sys::read_file(std::string{kSlotsDir} + "/" + std::to_string(slot), 4096);
        if (owner && *owner == state_dir) return slot;
    }
    return 0;
}

}  // namespace

IdBlocks::IdBlocks(Fd lock, std::uint32_t slot) : lock_{std::move(lock)}, slot_{slot}, used_(kBlocks) {}

Result<IdBlocks> IdBlocks::claim(const std::string& state_dir) {
    SBX_CHECK(sys::ensure_dir("/run/sandboxd", 0755));
    SBX_CHECK(sys::ensure_dir(kSlotsDir, 0755));
    const std::uint32_t remembered = remembered_slot(state_dir);
    if (remembered != 0) {
        SBX_TRY(Fd lock, try_slot(remembered, state_dir));
        if (lock.valid()) return IdBlocks{std::move(lock), remembered};
        return Error{Errc::conflict, "id slot", "another process holds this state folder's slot " + std::to_string(remembered)};
    }
    for (std::uint32_t slot = kFirstSlot; slot <= kLastSlot; ++slot) {
        SBX_TRY(Fd lock, try_slot(slot, state_dir));
        if (lock.valid()) return IdBlocks{std::move(lock), slot};
    }
    return Error{Errc::node_full, "id slot",
                 "all 15 id ranges of this machine belong to other daemons; stop one, or remove the file of a daemon that "
                 "is gone from /run/sandboxd/slots"};
}

Result<isolation::IdMap> IdBlocks::allocate() {
    for (std::uint32_t i = 0; i < kBlocks; ++i) {
        const std::uint32_t block = (next_ + i) % kBlocks;
        if (used_[block]) continue;
        used_[block] = true;
        next_ = block + 1;
        return isolation::IdMap{(slot_ << 28) + block * isolation::kIdRange};
    }
    return Error{Errc::node_full, "id ranges", "all " + std::to_string(kBlocks) + " are in use"};
}

Result<void> IdBlocks::take(isolation::IdMap ids) {
    const std::uint32_t block = (ids.base & 0x0fffffffU) / isolation::kIdRange;
    if (ids.base >> 28 != slot_ || ids.base % isolation::kIdRange != 0 || block >= kBlocks || used_[block]) {
        return Error{Errc::conflict, "id range", std::to_string(ids.base)};
    }
    used_[block] = true;
    return {};
}

void IdBlocks::release(isolation::IdMap ids) { used_[(ids.base & 0x0fffffffU) / isolation::kIdRange] = false; }

std::uint32_t IdBlocks::api_fallback_id() const noexcept { return kApiFallbackBase + slot_; }

std::uint32_t IdBlocks::probe_id() const noexcept { return kProbeBase + slot_; }

}  // namespace sandboxd::manager
