#pragma once

#include <catch2/catch.hpp>

#include "sandboxd/core/result.hpp"

// Lets CHECK(result) and REQUIRE(result) print the error.
template <class T>
struct Catch::StringMaker<sandboxd::Result<T>> {
    static std::string convert(const sandboxd::Result<T>& result) {
        return result ? "a value" : result.error().message();
    }
};

namespace sandboxd::isolation::test {

// The value; the test fails with the error where there is none.
template <class T>
T get(Result<T> result) {
    REQUIRE(result);
    return *std::move(result);
}

}  // namespace sandboxd::isolation::test
