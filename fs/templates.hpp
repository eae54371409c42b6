#pragma once

#include <memory>
#include <string>
#include <vector>

#include "isolation/mount_plan.hpp"
#include "sandboxd/core/result.hpp"

namespace sandboxd::fs {

struct TemplateInfo {
    std::string name;
    std::string description;
    std::vector<std::string> layers;  // host paths, topmost first
};

// What a sandbox's root is made of. Today: `host`, the machine's own /usr read-only below a skeleton of /etc, /home,
// /var and the usual links, built once into <state_dir>/templates/host and checked at each start.
class TemplateStore {
public:
    [[nodiscard]] static Result<std::unique_ptr<TemplateStore>> open(const std::string& state_dir);
    ~TemplateStore();

    [[nodiscard]] std::vector<TemplateInfo> list() const;
    // not_found, naming the templates that exist.
    [[nodiscard]] Result<isolation::MountPlan> plan(const std::string& name, const std::string& volume_path) const;

private:
    struct Impl;
    explicit TemplateStore(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace sandboxd::fs
