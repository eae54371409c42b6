#include "api/exchange.hpp"

#include <cstdlib>

#include "sandboxd/core/assert.hpp"

namespace sandboxd::api {

Operations& Exchange::operations() {
    assertion_failed("an exchange of a server", __FILE__, __LINE__);
}

}  // namespace sandboxd::api
