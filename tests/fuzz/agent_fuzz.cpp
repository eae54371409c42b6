#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "sandboxd/agent/protocol.hpp"

// Both ends decode what the other may have forged. Whatever is accepted has exactly one spelling: encoded again it is the
// same packet.
namespace {

using namespace sandboxd;

template <class Body>
void check(wire::Reader reader, const agent::Header& header, const std::uint8_t* data, std::size_t size) {
    Body body;
    if (!agent::decode_body(reader, body)) return;
    std::vector<std::byte> again(size);
    if (agent::encode(again.data(), again.size(), header.type, header.request, body) != size) std::abort();
    if (std::memcmp(again.data(), data, size) != 0) std::abort();
}

void check_stream(const std::uint8_t* data, std::size_t size) {
    wire::Reader reader{reinterpret_cast<const std::byte*>(data), size};
    agent::ListPacket kind{};
    if (!reader(kind)) return;
    agent::FileInfo info;
    agent::FileEvent event;
    if (kind == agent::ListPacket::entry) (void)agent::decode_body(reader, info);
    if (kind == agent::ListPacket::event) (void)agent::decode_body(reader, event);
}

void check_records(const std::uint8_t* data, std::size_t size) {
    wire::Reader reader{reinterpret_cast<const std::byte*>(data), size};
    agent::FileRecord record;
    while (!reader.done() && reader(record)) {
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    check_stream(data, size);
    check_records(data, size);
    wire::Reader reader{reinterpret_cast<const std::byte*>(data), size};
    agent::Header header;
    if (!agent::decode_header(reader, header)) return 0;
    using agent::Type;
    switch (header.type) {
        case Type::exec: check<agent::Exec>(reader, header, data, size); break;
        case Type::signal: check<agent::Signal>(reader, header, data, size); break;
        case Type::resize: check<agent::Resize>(reader, header, data, size); break;
        case Type::close_stdin: case Type::forget: check<agent::ExecRef>(reader, header, data, size); break;
        case Type::file_open: check<agent::FileOpen>(reader, header, data, size); break;
        case Type::file_stat: case Type::file_remove: case Type::file_mkdir: check<agent::FileRef>(reader, header, data, size); break;
        case Type::file_list: check<agent::FileList>(reader, header, data, size); break;
        case Type::file_rename: check<agent::FileRename>(reader, header, data, size); break;
        case Type::file_watch: check<agent::FileWatch>(reader, header, data, size); break;
        case Type::connect_port: check<agent::ConnectPort>(reader, header, data, size); break;
        case Type::hello_ok: check<agent::HelloOk>(reader, header, data, size); break;
        case Type::exec_refusals: check<agent::ExecRefusals>(reader, header, data, size); break;
        case Type::exec_state: case Type::exec_exited: check<agent::ExecState>(reader, header, data, size); break;
        case Type::exec_started: check<agent::ExecStarted>(reader, header, data, size); break;
        case Type::error: check<agent::Failure>(reader, header, data, size); break;
        case Type::file_opened: case Type::file_info: check<agent::FileInfo>(reader, header, data, size); break;
        default: check<agent::Empty>(reader, header, data, size); break;
    }
    return 0;
}
