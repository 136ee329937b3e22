// Runs a grid: one block after another, each CUDA thread of a block on a fiber.
//
// A thread runs until it waits in a barrier or a warp collective, or returns; then the next lane of its warp runs. Once
// no lane of a warp can go on, the next warp runs; once no warp can, the block's barrier opens if everybody alive is
// there, and else the block is stuck, which is reported. So the order is fixed, and can be turned round. A thread that
// returns leaves its fiber to the next one: a kernel in which nobody waits needs a single fiber, and no switches.
#pragma once

#include "fiber.hpp"
#include "api.hpp"

#include <string>
#include <vector>

namespace emulator {

/// Where a kernel called a barrier or a collective.
struct Site {
    const char* file = nullptr;
    int line = 0;
    const char* operation = nullptr;

    bool operator==(const Site& other) const;
    std::string text() const;
};

/// A copy to shared memory that its thread has not waited for.
struct PendingCopy {
    void* shared;
    const void* global;
    std::size_t bytes;
    bool valid;
    unsigned int group;
};

struct Thread {
    enum class State : unsigned char { Ready, AtBarrier, AtCollective, Done };

    /// Given when it first runs, taken back when it returns.
    Fiber* fiber = nullptr;
    State state = State::Done;
    uint3 index{};
    unsigned int number = 0;
    unsigned int lane = 0;
    unsigned int warp = 0;
    Site site;
    std::vector<PendingCopy> copies;
    unsigned int copy_group = 0;
};

struct Warp {
    /// Bits of lanes: those that exist and have not returned, that can run, that wait in the collective.
    unsigned int alive = 0;
    unsigned int ready = 0;
    unsigned int arrived = 0;
    Site site;
    void (*combine)(Warp&) = nullptr;
    /// How often `__syncwarp` was passed since the last barrier of the block.
    unsigned int epoch = 0;
    /// What lanes bring to a collective, and what they take from it.
    std::uint32_t in[32][8];
    std::uint32_t out[32][4];
};

struct Launch {
    const Kernel* kernel = nullptr;
    dim3 grid;
    dim3 block;
    std::size_t dynamic_shared_bytes = 0;
    void* const* parameters = nullptr;
    const void* parameters_begin = nullptr;
    std::size_t parameters_bytes = 0;
};

enum class Order { Forward, Reverse };

/// Runs the grid to its end, or until a problem stops it.
void run(const Launch& launch, Order order);

/// The launch that runs, and within it the thread.
const Launch& current_launch();
const uint3& current_block();
Thread& current_thread();
Warp& current_warp();
/// Whether `address` is on the stack of the thread that runs: its registers and local arrays.
bool on_stack(const void* address);

/// Leaves the kernel for good: nothing of this launch runs any more. Called on a kernel's thread.
[[noreturn]] void stop_launch();

/// Waits until all lanes of the warp are in this collective; the last to come calls `combine` for all of them.
void collective(unsigned int mask, Site site, void (*combine)(Warp&));

} // namespace emulator
