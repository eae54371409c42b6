#pragma once

#include <boost/system/result.hpp>
#include <ostream>

#include "sandboxd/core/error.hpp"

namespace sandboxd {

// A value or an Error. boost's result is not [[nodiscard]]; this one is.
template <class T>
class [[nodiscard]] Result : public boost::system::result<T, Error> {
public:
    using Base = boost::system::result<T, Error>;
    using Base::Base;
    Result(Base&& base) : Base{std::move(base)} {}
};

// For test reports only: boost's own would ask for the value to be printable.
template <class T>
std::ostream& operator<<(std::ostream& out, const Result<T>& result) {
    return result ? out << "a value" : out << "error: " << result.error();
}

}  // namespace sandboxd

#define SBX_CONCAT_INNER(a, b) a##b
#define SBX_CONCAT(a, b) SBX_CONCAT_INNER(a, b)

// SBX_TRY(auto value, expression): the value, or return the expression's Error to the caller.
#define SBX_TRY(lhs, ...) SBX_TRY_IMPL(return, SBX_CONCAT(sbx_result_, __LINE__), lhs, __VA_ARGS__)
#define SBX_CO_TRY(lhs, ...) SBX_TRY_IMPL(co_return, SBX_CONCAT(sbx_result_, __LINE__), lhs, __VA_ARGS__)
#define SBX_TRY_IMPL(ret, tmp, lhs, ...)      \
    auto tmp = (__VA_ARGS__);                 \
    if (!tmp) ret std::move(tmp).error();     \
    lhs = *std::move(tmp)

// The same where there is no value (Result<void>) or where it is not wanted.
#define SBX_CHECK(...) SBX_CHECK_IMPL(return, SBX_CONCAT(sbx_result_, __LINE__), __VA_ARGS__)
#define SBX_CO_CHECK(...) SBX_CHECK_IMPL(co_return, SBX_CONCAT(sbx_result_, __LINE__), __VA_ARGS__)
#define SBX_CHECK_IMPL(ret, tmp, ...)              \
    do {                                           \
        auto tmp = (__VA_ARGS__);                  \
        if (!tmp) ret std::move(tmp).error();      \
    } while (false)
