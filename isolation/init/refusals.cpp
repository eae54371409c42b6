#include "isolation/init/refusals.hpp"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "isolation/refusal_rules.hpp"

namespace sandboxd::init {

namespace {

// Newer than the headers: kernel 6.6. Answerer and caller then take turns on one processor, without a wake-up between two.
constexpr unsigned long kSetFlags = SECCOMP_IOW(4, std::uint64_t);
constexpr unsigned long kSyncWakeUp = 1;

// The kernel copies its own size of the structure, which may grow; what lies in it must be zero before.
union Notification {
    seccomp_notif it;
    std::byte room[512];
};

// Not in the exec slots, which are walked through all the time, nor in an object with a constructor: a page of these is
// touched at an exec's first refusal.
agent::ExecRefusals g_lists[agent::kMaxExecs];

bool same(const agent::Refusal& a, const agent::Refusal& b) {
    return a.number == b.number && a.error == b.error && a.shown[0] == b.shown[0] && a.shown[1] == b.shown[1] &&
           a.values[0] == b.values[0] && a.values[1] == b.values[1];
}

agent::Refusal refusal_of(const seccomp_data& call, std::string_view rules) {
    agent::Refusal out;
    out.number = static_cast<std::uint16_t>(call.nr);
    std::uint64_t args[6];
    ::memcpy(args, call.args, sizeof args);
    isolation::RefusalRule rule;
    // The table is made from the same file as the filter: a call without a rule can't come. It is refused nevertheless.
    out.error = EPERM;
    if (!isolation::find_refusal(rules, static_cast<std::uint32_t>(call.nr), args, rule)) return out;
    out.error = rule.error;
    for (int i = 0; i < 2; ++i) {
        if (rule.shown[i] >= 6) continue;
        out.shown[i] = static_cast<std::uint8_t>(rule.shown[i] + 1);
        out.values[i] = static_cast<std::uint32_t>(args[rule.shown[i]]);
    }
    return out;
}

}  // namespace

int load_filter_with_listener(std::string_view program) {
    seccomp_notif_sizes sizes{};
    if (::syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes) != 0) return -1;
    if (sizes.seccomp_notif > sizeof(Notification)) {
        errno = EOVERFLOW;
        return -1;
    }
    sock_fprog filter{};
    filter.len = static_cast<unsigned short>(program.size() / sizeof(sock_filter));
    filter.filter = reinterpret_cast<sock_filter*>(const_cast<char*>(program.data()));
    // Without WAIT_KILLABLE_RECV: a caller that waits for its answer could not be frozen, and the init that owes it the
    // answer is frozen with it.
    const auto listener = static_cast<int>(::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &filter));
    if (listener >= 0) (void)::ioctl(listener, kSetFlags, kSyncWakeUp);  // only faster
    return listener;
}

Refusals::Served Refusals::serve(int listener, std::uint32_t place, std::string_view rules) {
    Notification call;
    ::memset(&call, 0, sizeof call);
    // ENOENT: whoever asked was killed or interrupted meanwhile.
    if (::ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call) != 0) return errno == ENOENT || errno == EINTR ? Served::nothing : Served::hung_up;
    const agent::Refusal refusal = refusal_of(call.it.data, rules);
    seccomp_notif_resp answer{};
    answer.id = call.it.id;
    answer.error = -static_cast<int>(refusal.error);
    // Counted when it was delivered: a caller that a signal interrupted before asks again.
    if (::ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer) != 0) return Served::nothing;
    return count(place, refusal);
}

const agent::ExecRefusals* Refusals::of(std::uint32_t place) const { return cleared_[place] ? &g_lists[place] : nullptr; }

Refusals::Served Refusals::count(std::uint32_t place, const agent::Refusal& refusal) {
    agent::ExecRefusals& list = g_lists[place];
    if (!cleared_[place]) {
        ::memset(static_cast<void*>(&list), 0, sizeof list);
        cleared_[place] = true;
    }
    for (std::uint32_t i = 0; i < list.used; ++i) {
        if (!same(list.list[i], refusal)) continue;
        ++list.list[i].count;
        return Served::counted;
    }
    if (list.used == agent::kMaxRefusals) {
        ++list.others;
        return list.others == 1 ? Served::new_entry : Served::counted;
    }
    list.list[list.used] = refusal;
    list.list[list.used++].count = 1;
    return Served::new_entry;
}

}  // namespace sandboxd::init
