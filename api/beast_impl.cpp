// The one translation unit that holds what Beast and Asio's TLS have besides templates (separate compilation).
#include <boost/asio/ssl/impl/src.hpp>
#include <boost/beast/src.hpp>
