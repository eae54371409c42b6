#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

// The system calls of the init that glibc has no wrapper for, and the few string functions that it needs. No
// allocation, no exceptions. Everything returns -1 with errno set, as system calls do.
namespace sandboxd::init {

// A path built in a fixed buffer; ok() is false once something did not fit.
template <std::size_t N>
class Text {
public:
    Text() { data_[0] = '\0'; }
    Text& add(std::string_view part) {
        if (part.size() >= N - size_) {
            ok_ = false;
            return *this;
        }
        for (const char c : part) data_[size_++] = c;
        data_[size_] = '\0';
        return *this;
    }
    Text& add(std::uint64_t number) {
        char digits[20];
        std::size_t n = 0;
        do {
            digits[n++] = static_cast<char>('0' + number % 10);
            number /= 10;
        } while (number != 0);
        while (n > 0) add(std::string_view{&digits[--n], 1});
        return *this;
    }
    [[nodiscard]] bool ok() const { return ok_; }
    [[nodiscard]] const char* c_str() const { return data_; }
    [[nodiscard]] std::string_view view() const { return {data_, size_}; }
    void cut(std::size_t size) { data_[size_ = size] = '\0'; }
    [[nodiscard]] std::size_t size() const { return size_; }

private:
    char data_[N];
    std::size_t size_ = 0;
    bool ok_ = true;
};

struct MountOption {
    const char* key;
    const char* value;  // null: a flag
};

int sys_open_tree(int dir, const char* path, unsigned flags);
int sys_move_mount(int from, int to_dir);  // both by descriptor, with empty paths
int sys_mount_attributes(int mount, std::uint64_t set);
// fsopen, options, fsmount: a detached mount with the given MOUNT_ATTR_*.
int new_mount(const char* type, const MountOption* options, std::size_t count, unsigned attributes);
int sys_pivot_root_here();
int sys_close_range(unsigned first, unsigned last, unsigned flags);
// Closes every descriptor from 3 up but those in `keep` (sorted in place; -1 is skipped).
bool close_all_except(int* keep, std::size_t count);
// open(2) that refuses to pass through a magic link, as those of /proc/<pid>/fd are (openat2(2), kernel 5.6).
int open_plain(const char* path, int flags);
// A directory or file below `root`, no symlink anywhere on the way (openat2(2), kernel 5.6).
int open_below(int root, const char* path, std::uint64_t flags);
int write_file(int dir, const char* path, std::string_view text);

std::uint64_t boot_time_ns();

// One message with descriptors over a SEQPACKET socket.
bool send_with_fds(int socket, const std::byte* data, std::size_t size, const int* fds, std::size_t count, int flags);
inline constexpr std::size_t kMaxReceivedFds = 48;
struct Incoming {
    std::ptrdiff_t size = -1;  // 0: hung up, -1: errno
    int fds[kMaxReceivedFds];
    std::size_t fd_count = 0;
};
Incoming receive_with_fds(int socket, std::byte* buffer, std::size_t capacity, int flags);

}  // namespace sandboxd::init
