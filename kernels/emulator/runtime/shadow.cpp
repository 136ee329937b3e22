#include "shadow.hpp"

#include <algorithm>

namespace emulator::checker {

namespace {

// Values of `Record::who`: a thread of the block, or one of these.
constexpr std::uint64_t WARP = 1024; // several threads of the warp `who - WARP`
constexpr std::uint64_t BLOCK = 1056; // several warps of a block
constexpr std::uint64_t GRID = 1057; // several blocks
constexpr std::uint64_t COPY = 1058; // a copy that its thread has not waited for
constexpr std::uint64_t HOST = 1059;
constexpr std::uint64_t MOST_WARP_EPOCHS = (1 << 17) - 1;

/// The base of the kernels' code: the first instruction that was seen.
const char* code_base = nullptr;

std::uint32_t pack_code(const void* code) {
    if (code_base == nullptr) code_base = static_cast<const char*>(code) - (std::uintptr_t{1} << 31);
    return static_cast<std::uint32_t>(static_cast<const char*>(code) - code_base);
}

const void* unpack_code(std::uint32_t code) { return code_base + code; }

bool exists(const Record& record) { return record.epoch != 0 || record.who != 0; }

Record record_of(const Now& now, std::uint64_t who) {
    return {now.epoch, std::min<std::uint64_t>(now.warp_epoch, MOST_WARP_EPOCHS), who};
}

/// Whether everything in `record` happened before what the running thread does now. `horizon` is the epoch before which
/// nothing counts: the launch for global memory, the block for shared memory.
bool ordered(const Record& record, const Now& now, std::uint64_t horizon) {
    if (record.epoch < horizon) return true;
    if (record.who == GRID || record.epoch < now.block_epoch) return false;
    if (record.epoch < now.epoch || record.who == now.thread) return true;
    const std::uint64_t warp = record.who < WARP ? record.who / 32 : record.who - WARP;
    return record.who < BLOCK && warp == now.warp && record.warp_epoch < now.warp_epoch;
}

/// Adds the running thread to accesses that may happen at the same time.
void merge(Record& record, const Now& now, std::uint64_t horizon) {
    if (ordered(record, now, horizon)) {
        record = record_of(now, now.thread);
    } else if (record.who == GRID || record.epoch < now.block_epoch) {
        record = record_of(now, GRID);
    } else {
        const std::uint64_t warp = record.who < WARP ? record.who / 32 : record.who - WARP;
        const bool same_warp = record.who < BLOCK && warp == now.warp;
        record = record_of(now, same_warp ? WARP + now.warp : BLOCK);
    }
}

std::string who_text(const Record& record, const Now& now) {
    if (record.who == GRID) return "several blocks";
    const std::string block = record.epoch < now.block_epoch ? " of another block" : "";
    if (record.who == BLOCK) return "several warps" + block;
    if (record.who >= WARP) return "several threads of warp " + std::to_string(record.who - WARP) + block;
    return "thread " + std::to_string(record.who) + block;
}

} // namespace

std::string name_of(Access kind) {
    switch (kind) {
    case Access::Read: return "read";
    case Access::Atomic: return "atomic operation";
    default: return "write";
    }
}

Region::Region(std::uintptr_t begin, std::size_t bytes, Space space, std::string name)
    : begin_(begin), bytes_(bytes), space_(space), name_(std::move(name)) {}

std::string Region::description() const {
    if (space_ == Space::Global) return "a global buffer of " + std::to_string(bytes_) + " B";
    return (name_.find(' ') == std::string::npos ? "shared `" + name_ + "`" : name_) + " of " +
           std::to_string(bytes_) + " B";
}

void Region::prepare(std::uintptr_t address, std::size_t bytes) {
    if (cells_.empty()) cells_.resize((bytes_ + granule_ - 1) / granule_);
    if (granule_ == 1 || ((address - begin_) % 4 == 0 && bytes % 4 == 0)) return;
    std::vector<Cell> finer(bytes_);
    for (std::size_t byte = 0; byte < bytes_; ++byte) finer[byte] = cells_[byte / 4];
    cells_ = std::move(finer);
    granule_ = 1;
}

Finding Region::access(Access kind, std::uintptr_t address, std::size_t bytes, const Now& now, const void* code) {
    prepare(address, bytes);
    const std::uint64_t horizon = space_ == Space::Global ? now.launch_epoch : now.block_epoch;
    const std::uint64_t written_since = space_ == Space::Global ? 0 : now.block_epoch;
    Finding finding;
    const std::size_t last = last_cell(address, bytes);
    for (std::size_t index = first_cell(address); index <= last; ++index) {
        Cell& cell = cells_[index];
        const auto place = [&] {
            return "byte " + std::to_string(index * granule_) + " of " + description();
        };
        const auto race = [&](const char* what, const Record& other, std::uint32_t other_code) {
            finding.problem = Problem::Race;
            finding.text = std::string("race: this ") + name_of(kind) + " and the " + what + " by " +
                           who_text(other, now) +
                           (other_code != 0 ? " at " + source_location(unpack_code(other_code)) : "") +
                           " are not ordered; " + place();
        };
        const bool in_flight = cell.write.who == COPY && cell.write.epoch >= horizon;
        if (in_flight && kind != Access::EndCopy) {
            finding.problem = Problem::Race;
            finding.text = "race: this " + name_of(kind) + " meets a cp.async started at " +
                           source_location(unpack_code(cell.write_code)) + " that was not waited for; " + place();
        } else if (kind != Access::EndCopy && !ordered(cell.write, now, horizon)) {
            race("write", cell.write, cell.write_code);
        } else if (kind != Access::Read && !ordered(cell.read, now, horizon)) {
            race("read", cell.read, cell.read_code);
        } else if (kind != Access::Atomic && !ordered(cell.atomic, now, horizon)) {
            race("atomic operation", cell.atomic, 0);
        } else if (kind == Access::Read || kind == Access::Atomic) {
            const bool written = (exists(cell.write) && cell.write.epoch >= written_since) ||
                                 (exists(cell.atomic) && cell.atomic.epoch >= written_since);
            if (!written) {
                finding.problem = Problem::Uninitialised;
                finding.text = "uninitialised: this " + name_of(kind) + " is of memory that nobody has written; " +
                               place();
            }
        }
        switch (kind) {
        case Access::Read:
            merge(cell.read, now, horizon);
            cell.read_code = pack_code(code);
            break;
        case Access::Atomic: merge(cell.atomic, now, horizon); break;
        case Access::BeginCopy:
            cell.write = record_of(now, COPY);
            cell.write_code = pack_code(code);
            break;
        default:
            cell.write = record_of(now, now.thread);
            cell.write_code = pack_code(code);
        }
    }
    return finding;
}

void Region::host_write(std::uintptr_t address, std::size_t bytes) {
    bytes = std::min<std::size_t>(bytes, end() - address);
    prepare(address, bytes);
    const std::size_t last = last_cell(address, bytes);
    for (std::size_t index = first_cell(address); index <= last; ++index) cells_[index].write = {0, 0, HOST};
}

void Region::copy(std::uintptr_t address, Region& source, std::uintptr_t from, std::size_t bytes) {
    bytes = std::min({bytes, static_cast<std::size_t>(end() - address), static_cast<std::size_t>(source.end() - from)});
    prepare(address, bytes);
    for (std::size_t byte = 0; byte < bytes; byte += granule_) {
        const bool known = source.initialised(from + byte, granule_);
        cells_[first_cell(address + byte)].write = known ? Record{0, 0, HOST} : Record{0, 0, 0};
    }
}

bool Region::initialised(std::uintptr_t address, std::size_t bytes) {
    bytes = std::min<std::size_t>(bytes, end() - address);
    prepare(begin_, 4);
    const std::size_t last = last_cell(address, bytes);
    for (std::size_t index = first_cell(address); index <= last; ++index) {
        if (!exists(cells_[index].write) && !exists(cells_[index].atomic)) return false;
    }
    return true;
}

} // namespace emulator::checker
