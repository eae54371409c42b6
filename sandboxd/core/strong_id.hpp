#pragma once

#include <compare>
#include <functional>
#include <string>

namespace sandboxd {

// A string that names one kind of thing. Made only by a parser or a generator (`trusted`).
template <class Tag>
class StrongId {
public:
    StrongId() = default;
    [[nodiscard]] static StrongId trusted(std::string text) {
        StrongId id;
        id.text_ = std::move(text);
        return id;
    }
    [[nodiscard]] const std::string& str() const noexcept { return text_; }
    [[nodiscard]] bool empty() const noexcept { return text_.empty(); }
    auto operator<=>(const StrongId&) const = default;

private:
    std::string text_;
};

}  // namespace sandboxd

template <class Tag>
struct std::hash<sandboxd::StrongId<Tag>> {
    std::size_t operator()(const sandboxd::StrongId<Tag>& id) const noexcept {
        return std::hash<std::string>{}(id.str());
    }
};
