#pragma once

#include <functional>
#include <memory>
#include <string>

#include "sandboxd/engine/agent_client.hpp"
#include "sandboxd/engine/files.hpp"
#include "sandboxd/engine/io_pools.hpp"

namespace sandboxd::engine {

// The files of one sandbox, through its agent: paths are resolved in the jail, what comes back are descriptors, which
// are checked before they are used. Lives in its sandbox; what it hands out lives on its own.
class FilesImpl final : public Files {
public:
    // `enter` is asked before each call: an Error refuses it (paused, gone), otherwise it counts as a use.
    FilesImpl(IoPools& pools, std::shared_ptr<AgentClient> agent, std::function<Result<void>()> enter)
        : pools_{pools}, agent_{std::move(agent)}, enter_{std::move(enter)} {}

    asio::awaitable<Result<std::unique_ptr<FileReader>>> open(std::string path, User user, Deadline deadline) override;
    asio::awaitable<Result<std::unique_ptr<FileWriter>>> replace(std::string path, std::uint32_t mode, User user, Deadline deadline) override;
    asio::awaitable<Result<FileInfo>> stat(std::string path, User user, Deadline deadline) override;
    asio::awaitable<Result<std::unique_ptr<FileListing>>> list(std::string path, std::uint32_t depth, std::uint32_t limit, User user,
                                                               Deadline deadline) override;
    asio::awaitable<Result<void>> remove(std::string path, User user, Deadline deadline) override;
    asio::awaitable<Result<void>> make_directory(std::string path, std::uint32_t mode, User user, Deadline deadline) override;
    asio::awaitable<Result<void>> rename(std::string from, std::string to, User user, Deadline deadline) override;
    asio::awaitable<Result<std::unique_ptr<FileWatch>>> watch(std::string path, bool recursive, User user, Deadline deadline) override;

private:
    [[nodiscard]] Result<std::string> admit(const std::string& path, const User& user) const;

    IoPools& pools_;
    std::shared_ptr<AgentClient> agent_;
    std::function<Result<void>()> enter_;
};

}  // namespace sandboxd::engine
