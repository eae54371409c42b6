// The one translation unit that holds the non-template code of Beast and of Asio's TLS; Asio's own
// is in core.
#include <boost/asio/ssl/impl/src.hpp>
#include <boost/beast/src.hpp>
