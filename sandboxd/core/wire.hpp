#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <type_traits>

// The codec of the private protocols (monitor–API, API–init, monitor–init): little-endian fixed-width
// integers and length-prefixed bytes, in declaration order. Both ends are on one machine and of one
// build or of neighbouring versions, so there is no schema evolution beyond each protocol's version.
//
// Used by sandbox-init, so: no allocation, no exceptions, nothing beyond freestanding headers.
// A message is a struct with `template <class A, class S> static bool visit(A& a, S& s)` that lists
// its fields: `return a(s.id) && a(s.path);`. Decoded string_views point into the received buffer.
namespace sandboxd::wire {

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);

class Writer {
public:
    Writer(std::byte* data, std::size_t capacity) noexcept : data_{data}, capacity_{capacity} {}

    template <class T>
        requires(std::is_integral_v<T> || std::is_enum_v<T>)
    bool operator()(const T& value) noexcept {
        return raw(&value, sizeof value);
    }
    bool operator()(const std::string_view& bytes) noexcept {
        if (bytes.size() > UINT32_MAX) return false;
        const auto size = static_cast<std::uint32_t>(bytes.size());
        return (*this)(size) && raw(bytes.data(), bytes.size());
    }
    template <class T>
        requires std::is_class_v<T>
    bool operator()(const T& message) noexcept {
        return T::visit(*this, message);
    }
    template <class T, std::size_t N>
    bool operator()(const T (&array)[N]) noexcept {
        for (const T& item : array) {
            if (!(*this)(item)) return false;
        }
        return true;
    }

    [[nodiscard]] std::size_t size() const noexcept { return size_; }

private:
    bool raw(const void* from, std::size_t n) noexcept {
        if (n > capacity_ - size_) return false;
        if (n != 0) std::memcpy(data_ + size_, from, n);
        size_ += n;
        return true;
    }

    std::byte* data_;
    std::size_t capacity_;
    std::size_t size_ = 0;
};

class Reader {
public:
    Reader(const std::byte* data, std::size_t size) noexcept : data_{data}, left_{size} {}

    template <class T>
        requires((std::is_integral_v<T> && !std::is_same_v<T, bool>) || std::is_enum_v<T>)
    bool operator()(T& value) noexcept {
        return raw(&value, sizeof value);
    }
    bool operator()(bool& value) noexcept {
        std::uint8_t byte = 0;
        if (!(*this)(byte) || byte > 1) return false;
        value = byte == 1;
        return true;
    }
    bool operator()(std::string_view& bytes) noexcept {
        std::uint32_t size = 0;
        if (!(*this)(size) || size > left_) return false;
        bytes = {reinterpret_cast<const char*>(data_), size};
        data_ += size;
        left_ -= size;
        return true;
    }
    template <class T>
        requires std::is_class_v<T>
    bool operator()(T& message) noexcept {
        return T::visit(*this, message);
    }
    template <class T, std::size_t N>
    bool operator()(T (&array)[N]) noexcept {
        for (T& item : array) {
            if (!(*this)(item)) return false;
        }
        return true;
    }

    // A decoder must use up the message: trailing bytes mean that the ends disagree about it.
    [[nodiscard]] bool done() const noexcept { return left_ == 0; }
    [[nodiscard]] std::size_t left() const noexcept { return left_; }

private:
    bool raw(void* to, std::size_t n) noexcept {
        if (n > left_) return false;
        std::memcpy(to, data_, n);
        data_ += n;
        left_ -= n;
        return true;
    }

    const std::byte* data_;
    std::size_t left_;
};

}  // namespace sandboxd::wire
