// Runs a fuzz target over its corpus without libFuzzer: every file, every prefix of the small ones, and mutations from
// a fixed seed, so that each preset (also the sanitizers of g++) sees the parser under hostile input.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using Bytes = std::vector<std::uint8_t>;

constexpr std::size_t kPrefixesBelow = 4096;
constexpr int kMutationsPerFile = 2000;

void run(const Bytes& bytes) {
    // Exactly sized on the heap: a read past the end is seen by AddressSanitizer.
    const Bytes copy(bytes);
    LLVMFuzzerTestOneInput(copy.data(), copy.size());
}

Bytes read_file(const std::filesystem::path& path) {
    std::ifstream file{path, std::ios::binary};
    return Bytes(std::istreambuf_iterator<char>{file}, {});
}

void mutate(Bytes& bytes, std::mt19937& random) {
    const auto at = [&] { return bytes.empty() ? 0 : random() % bytes.size(); };
    switch (random() % 5) {
        case 0:
            if (!bytes.empty()) bytes[at()] ^= static_cast<std::uint8_t>(1U << (random() % 8));
            break;
        case 1:
            if (!bytes.empty()) bytes[at()] = static_cast<std::uint8_t>(random());
            break;
        case 2:
            bytes.insert(bytes.begin() + static_cast<std::ptrdiff_t>(at()), static_cast<std::uint8_t>(random()));
            break;
        case 3:
            if (!bytes.empty()) bytes.erase(bytes.begin() + static_cast<std::ptrdiff_t>(at()));
            break;
        default:
            bytes.resize(at());
    }
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2) {
        std::fprintf(stderr, "usage: %s CORPUS_FOLDER\n", argv[0]);
        return 2;
    }
    std::vector<std::filesystem::path> files;
    for (const auto& entry : std::filesystem::directory_iterator{argv[1]}) files.push_back(entry.path());
    if (files.empty()) {
        std::fprintf(stderr, "%s is empty: a target without seeds tests nothing\n", argv[1]);
        return 1;
    }
    std::mt19937 random{20240229};
    std::size_t inputs = 0;
    run({});
    for (const auto& file : files) {
        const Bytes seed = read_file(file);
        run(seed);
        if (seed.size() < kPrefixesBelow) {
            for (std::size_t length = 0; length < seed.size(); ++length, ++inputs) {
                run(Bytes(seed.begin(), seed.begin() + static_cast<std::ptrdiff_t>(length)));
            }
        }
        Bytes current = seed;
        for (int i = 0; i < kMutationsPerFile; ++i, ++inputs) {
            if (i % 16 == 0) current = seed;  // not too far from what the parser accepts
            mutate(current, random);
            run(current);
        }
    }
    std::printf("%zu files, %zu further inputs: ok\n", files.size(), inputs);
    return 0;
}
