#include "api/json_text.hpp"

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "api/errors.hpp"

namespace sandboxd::api {

namespace {

using nlohmann::json;

// Builds the value as the parser goes, so that what is refused is refused before it takes memory.
class Builder final : public nlohmann::json_sax<json> {
public:
    bool null() override { return put(nullptr); }
    bool boolean(bool value) override { return put(value); }
    bool number_integer(number_integer_t value) override { return put(value); }
    bool number_unsigned(number_unsigned_t value) override { return put(value); }
    bool number_float(number_float_t value, const string_t&) override { return put(value); }
    bool string(string_t& value) override { return put(std::move(value)); }
    bool binary(binary_t&) override { return fail("not JSON"); }
    bool start_object(std::size_t) override { return open(json::object()); }
    bool start_array(std::size_t) override { return open(json::array()); }
    bool end_object() override { return close(); }
    bool end_array() override { return close(); }
    bool key(string_t& name) override {
        json& object = *open_.back();
        if (object.contains(name)) return fail("the key \"" + name.substr(0, 100) + "\" comes twice in one object");
        slot_ = &object[name];
        return true;
    }
    bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception&) override {
        if (error_.empty()) fail("malformed JSON at byte " + std::to_string(position));
        return false;
    }

    [[nodiscard]] const std::string& error() const noexcept { return error_; }
    [[nodiscard]] json take() { return std::move(root_); }

private:
    bool fail(std::string why) {
        error_ = std::move(why);
        return false;
    }
    // Where the next value goes: the root, the key that was just read, or the end of the array.
    json& place() {
        if (open_.empty()) return root_;
        json& parent = *open_.back();
        if (parent.is_object()) return *slot_;
        parent.push_back(nullptr);
        return parent.back();
    }
    template <class T>
    bool put(T&& value) {
        place() = std::forward<T>(value);
        return true;
    }
    bool open(json empty) {
        if (open_.size() == kJsonDepthMax) return fail("nested deeper than " + std::to_string(kJsonDepthMax) + " levels");
        json& here = place();
        here = std::move(empty);
        // Stable: a container is only appended to, and only while it is the innermost one.
        open_.push_back(&here);
        return true;
    }
    bool close() {
        open_.pop_back();
        return true;
    }

    json root_;
    std::vector<json*> open_;
    json* slot_ = nullptr;
    std::string error_;
};

}  // namespace

Result<json> parse_json_text(std::string_view text) {
    Builder builder;
    if (!json::sax_parse(text.begin(), text.end(), &builder)) {
        return Error{Errc::invalid_argument, "body", builder.error()}.fact("field", "").fact("expected", "JSON").fact("got", builder.error());
    }
    return builder.take();
}

}  // namespace sandboxd::api
