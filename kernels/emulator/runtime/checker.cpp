#include "checker.hpp"

#include "report.hpp"
#include "shadow.hpp"

#include <map>
#include <memory>
#include <vector>

namespace emulator::checker {

namespace {

bool on = false;
bool launched = false;

/// All memory that a kernel may touch, by address.
std::map<std::uintptr_t, std::unique_ptr<Region>> regions;
/// Regions found lately, by 256-byte line of memory.
Region* recent[1024];
struct Constants {
    std::uintptr_t begin, end;
};
std::vector<Constants> constants;
const void* dynamic_shared_region = nullptr;

Now now;
/// The number of the last barrier or block.
std::uint64_t clock_now = 1;

std::uintptr_t number(const void* address) { return reinterpret_cast<std::uintptr_t>(address); }

Region* find(const void* address) {
    Region*& cached = recent[number(address) / 256 % 1024];
    if (cached != nullptr && cached->holds(number(address))) return cached;
    auto after = regions.upper_bound(number(address));
    if (after == regions.begin()) return nullptr;
    Region* region = std::prev(after)->second.get();
    if (!region->holds(number(address))) return nullptr;
    return cached = region;
}

void add(const void* address, std::size_t bytes, Space space, const std::string& name) {
    if (bytes == 0) return;
    regions[number(address)] = std::make_unique<Region>(number(address), bytes, space, name);
    std::memset(recent, 0, sizeof recent);
}

void remove(const void* address) {
    regions.erase(number(address));
    std::memset(recent, 0, sizeof recent);
}

bool is_private(const void* address) {
    const Launch& launch = current_launch();
    return on_stack(address) ||
           number(address) - number(launch.parameters_begin) < launch.parameters_bytes;
}

/// The place nearest below an address that belongs to nobody, for the message.
std::string near(std::uintptr_t address) {
    auto after = regions.upper_bound(address);
    if (after == regions.begin()) return "no buffer is there";
    const Region& below = *std::prev(after)->second;
    return std::to_string(address - below.end()) + " B past the end of " + below.description();
}

[[noreturn]] void out_of_bounds(Access kind, std::size_t bytes, const std::string& where,
                                const void* code) {
    report(Problem::OutOfBounds, "out of bounds: a " + name_of(kind) + " of " + std::to_string(bytes) + " B, " + where,
           code);
    // The access itself would follow: the launch ends here, as on a GPU.
    stop_launch();
}

void identify() {
    const Thread& thread = current_thread();
    now.thread = thread.number;
    now.warp = thread.warp;
    now.warp_epoch = current_warp().epoch;
}

void access(Access kind, const void* address, std::size_t bytes, const void* code) {
    if (is_private(address)) return;
    const std::uintptr_t begin = number(address);
    Region* region = find(address);
    if (region == nullptr) {
        if (kind == Access::Read) {
            for (const Constants& range : constants) {
                if (begin >= range.begin && begin + bytes <= range.end) return;
            }
        }
        out_of_bounds(kind, bytes, near(begin), code);
    }
    if (begin + bytes > region->end()) {
        out_of_bounds(kind, bytes, "across the end of " + region->description(), code);
    }
    identify();
    const Finding finding = region->access(kind, begin, bytes, now, code);
    if (finding.problem) report(*finding.problem, finding.text, code);
}

} // namespace

void enable(bool value) { on = value; }
bool enabled() { return on; }

void add_buffer(const void* address, std::size_t bytes) {
    if (on) add(address, bytes, Space::Global, "");
}

void remove_buffer(const void* address) {
    if (on) remove(address);
}

void add_shared(const void* address, std::size_t bytes, const std::string& name) {
    if (on) add(address, bytes, Space::Shared, name);
}

void remove_shared(const void* address) {
    if (on) remove(address);
}

void add_constants(const void* begin, std::size_t bytes) { constants.push_back({number(begin), number(begin) + bytes}); }

void host_write(const void* address, std::size_t bytes) {
    if (!on || bytes == 0) return;
    if (Region* region = find(address)) region->host_write(number(address), bytes);
}

void host_copy(const void* to, const void* from, std::size_t bytes) {
    if (!on || bytes == 0) return;
    Region* target = find(to);
    Region* source = find(from);
    if (target != nullptr && source != nullptr) target->copy(number(to), *source, number(from), bytes);
}

bool initialised(const void* address, std::size_t bytes) {
    if (!on || bytes == 0) return true;
    Region* region = find(address);
    return region == nullptr || region->initialised(number(address), bytes);
}

void begin_launch(const void* dynamic_shared, std::size_t dynamic_shared_bytes) {
    launched = true;
    if (!on) return;
    add(dynamic_shared, dynamic_shared_bytes, Space::Shared, "dynamic shared memory");
    dynamic_shared_region = dynamic_shared;
    now.launch_epoch = ++clock_now;
}

void end_launch() {
    launched = false;
    if (!on) return;
    remove(dynamic_shared_region);
}

void begin_block() { now.block_epoch = now.epoch = ++clock_now; }
void pass_barrier() { now.epoch = ++clock_now; }

void read(const void* address, std::size_t bytes, const void* code) {
    if (on && launched) access(Access::Read, address, bytes, code);
}

void write(const void* address, std::size_t bytes, const void* code) {
    if (on && launched) access(Access::Write, address, bytes, code);
}

void atomic(const void* address, std::size_t bytes, const void* code) {
    if (on && launched) access(Access::Atomic, address, bytes, code);
}

void begin_copy(const void* shared, const void* global, std::size_t bytes, bool valid, const void* code) {
    if (!on) return;
    if (valid) access(Access::Read, global, bytes, code);
    access(Access::BeginCopy, shared, bytes, code);
}

void end_copy(const void* shared, const void* global, std::size_t bytes, bool valid, const void* code) {
    if (!on) return;
    if (valid) access(Access::Read, global, bytes, code);
    access(Access::EndCopy, shared, bytes, code);
}

} // namespace emulator::checker

namespace emulator {

void atomic(const void* address, std::size_t bytes) {
    checker::atomic(address, bytes, __builtin_return_address(0));
}

} // namespace emulator
