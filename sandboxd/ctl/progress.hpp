#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace sandboxd::ctl {

// A line on standard error that says how far a long copy is. Shows nothing where standard error is
// no terminal, or before a second has passed. The destructor wipes it.
class Progress {
public:
    explicit Progress(bool wanted) : wanted_{wanted} {}
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;
    ~Progress();

    void begin(std::string name, std::uint64_t size);  // of the file that comes next; 0: not known
    void add(std::uint64_t bytes);
    [[nodiscard]] std::uint64_t files() const noexcept { return files_; }
    [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_; }

private:
    using Clock = std::chrono::steady_clock;
    bool wanted_;
    bool shown_ = false;
    std::string name_;
    std::uint64_t size_ = 0;
    std::uint64_t done_ = 0;  // of this file
    std::uint64_t bytes_ = 0;
    std::uint64_t files_ = 0;
    Clock::time_point begin_ = Clock::now();
    Clock::time_point last_ = begin_;
};

}  // namespace sandboxd::ctl
