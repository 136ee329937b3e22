// Shadow memory: what the checker remembers of each word of a buffer, and the rules by which accesses are ordered.
//
// Two accesses by different threads, one of them a write, are a race unless something orders them: the end of a launch,
// a `__syncthreads` between them (same block), a `__syncwarp` between them (same warp), or that both are atomic.
// Blocks run one after another and barriers are counted, so a number for "when" and one for "who" decide this exactly;
// where several threads read a word, it is enough to know whether they share a warp or a block.
#pragma once

#include "report.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace emulator::checker {

enum class Space { Global, Shared };
enum class Access { Read, Write, Atomic, BeginCopy, EndCopy };

std::string name_of(Access kind);

/// When and who the running thread is. Epochs count barriers and blocks, over all launches.
struct Now {
    std::uint64_t launch_epoch = 0;
    std::uint64_t block_epoch = 0;
    std::uint64_t epoch = 0;
    unsigned int thread = 0;
    unsigned int warp = 0;
    /// How often this warp passed `__syncwarp` in this epoch.
    unsigned int warp_epoch = 0;
};

/// One access, or several that nothing orders, packed: when (an epoch, and within it the warp's epoch) and who.
struct Record {
    std::uint64_t epoch : 36;
    std::uint64_t warp_epoch : 17;
    std::uint64_t who : 11;
};

struct Cell {
    Record write;
    Record read;
    Record atomic;
    /// Offsets of the instructions from a common base, for the message.
    std::uint32_t write_code;
    std::uint32_t read_code;
};

struct Finding {
    std::optional<Problem> problem;
    std::string text;
};

/// One buffer or shared variable with its shadow.
class Region {
public:
    Region(std::uintptr_t begin, std::size_t bytes, Space space, std::string name);

    std::uintptr_t begin() const { return begin_; }
    std::uintptr_t end() const { return begin_ + bytes_; }
    bool holds(std::uintptr_t address) const { return address - begin_ < bytes_; }
    std::string description() const;

    /// Records an access that lies within the region; says what is wrong with it.
    Finding access(Access kind, std::uintptr_t address, std::size_t bytes, const Now& now, const void* code);

    void host_write(std::uintptr_t address, std::size_t bytes);
    void copy(std::uintptr_t address, Region& source, std::uintptr_t from, std::size_t bytes);
    bool initialised(std::uintptr_t address, std::size_t bytes);

private:
    std::uintptr_t begin_;
    std::size_t bytes_;
    Space space_;
    std::string name_;
    /// How many bytes a cell stands for: 4 until somebody accesses less, then 1.
    std::size_t granule_ = 4;
    std::vector<Cell> cells_;

    void prepare(std::uintptr_t address, std::size_t bytes);
    std::size_t first_cell(std::uintptr_t address) const { return (address - begin_) / granule_; }
    std::size_t last_cell(std::uintptr_t address, std::size_t bytes) const {
        return (address - begin_ + bytes - 1) / granule_;
    }
};

} // namespace emulator::checker
