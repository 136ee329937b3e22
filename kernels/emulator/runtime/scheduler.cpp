#include "scheduler.hpp"

#include "checker.hpp"
#include "report.hpp"

#include <cstdlib>
#include <memory>

namespace emulator {

namespace {

/// Everything about the block that runs. One exists: launches are serialised by the driver.
struct Block {
    Launch launch;
    Order order = Order::Forward;
    uint3 index{};
    std::vector<std::unique_ptr<Thread>> threads;
    std::vector<Warp> warps;
    unsigned int thread_count = 0;
    unsigned int warp_count = 0;
    unsigned int alive = 0;
    /// How many warps, in the order of running, are known to have no lane that can run.
    unsigned int warps_passed = 0;
    Thread* running = nullptr;
    Fiber main;
    Fiber* running_fiber = nullptr;
    std::vector<std::unique_ptr<Fiber>> fibers;
    /// Those that no thread has.
    std::vector<Fiber*> free_fibers;
    bool stopped = false;
    char* dynamic_shared = nullptr;
    std::size_t dynamic_shared_capacity = 0;
};

Block block;

template <class Triple>
unsigned int component(const Triple& triple, unsigned int axis) {
    return axis == 0 ? triple.x : axis == 1 ? triple.y : triple.z;
}

/// The next thread that can run, or null if all wait.
Thread* next_thread() {
    for (; block.warps_passed < block.warp_count; ++block.warps_passed) {
        const unsigned int place = block.warps_passed;
        const unsigned int warp = block.order == Order::Forward ? place : block.warp_count - 1 - place;
        const unsigned int ready = block.warps[warp].ready;
        if (ready == 0) continue;
        const int lane = block.order == Order::Forward ? __builtin_ctz(ready) : 31 - __builtin_clz(ready);
        return block.threads[warp * 32 + static_cast<unsigned int>(lane)].get();
    }
    return nullptr;
}

void fiber_entry();

Fiber* take_fiber() {
    if (block.free_fibers.empty()) {
        block.fibers.push_back(std::make_unique<Fiber>());
        block.free_fibers.push_back(block.fibers.back().get());
    }
    Fiber* fiber = block.free_fibers.back();
    block.free_fibers.pop_back();
    fiber->start(fiber_entry, static_cast<unsigned int>(block.fibers.size() - block.free_fibers.size()));
    return fiber;
}

/// Gives the processor to the next thread, or to `run_block` if all wait.
void switch_away(Fiber& from) {
    Thread* next = block.stopped ? nullptr : next_thread();
    block.running = next;
    if (next != nullptr && next->fiber == nullptr) next->fiber = take_fiber();
    Fiber& to = next != nullptr ? *next->fiber : block.main;
    block.running_fiber = &to;
    if (&to != &from) to.switch_from(from);
}

void wait(Thread& thread, Thread::State state) {
    thread.state = state;
    block.warps[thread.warp].ready &= ~(1u << thread.lane);
    switch_away(*thread.fiber);
}

/// Does the work of the collective that all lanes of `warp` are in, and lets them go on.
void complete_collective(Warp& warp) {
    warp.combine(warp);
    warp.arrived = 0;
    warp.ready = warp.alive;
}

/// What remains to do when a thread has returned from the kernel.
void finish(Thread& thread) {
    Warp& warp = block.warps[thread.warp];
    thread.copies.clear();
    thread.fiber = nullptr;
    thread.state = Thread::State::Done;
    warp.alive &= ~(1u << thread.lane);
    warp.ready &= ~(1u << thread.lane);
    --block.alive;
    // Lanes that have returned are not waited for.
    if (warp.arrived != 0 && warp.arrived == warp.alive) complete_collective(warp);
}

/// Runs one thread after another, as long as the next in turn has not begun.
void fiber_entry() {
    const Launch& launch = block.launch;
    Fiber& fiber = *block.running_fiber;
    for (;;) {
        launch.kernel->call(launch.kernel->kernel, launch.parameters);
        finish(*block.running);
        Thread* next = block.stopped ? nullptr : next_thread();
        if (next == nullptr || next->fiber != nullptr) break;
        next->fiber = &fiber;
        block.running = next;
    }
    block.free_fibers.push_back(&fiber);
    switch_away(fiber);
    std::abort(); // A fiber that nobody has begins anew.
}

void start_block() {
    // A launch that was stopped leaves its threads where they were.
    block.free_fibers.clear();
    for (const auto& fiber : block.fibers) block.free_fibers.push_back(fiber.get());
    const dim3 size = block.launch.block;
    block.thread_count = size.x * size.y * size.z;
    block.warp_count = (block.thread_count + 31) / 32;
    while (block.threads.size() < block.thread_count) block.threads.push_back(std::make_unique<Thread>());
    if (block.warps.size() < block.warp_count) block.warps.resize(block.warp_count);
    for (unsigned int number = 0; number < block.thread_count; ++number) {
        Thread& thread = *block.threads[number];
        thread.state = Thread::State::Ready;
        thread.index = {number % size.x, number / size.x % size.y, number / (size.x * size.y)};
        thread.number = number;
        thread.lane = number % 32;
        thread.warp = number / 32;
        thread.copies.clear();
        thread.copy_group = 0;
        thread.fiber = nullptr;
    }
    for (unsigned int number = 0; number < block.warp_count; ++number) {
        Warp& warp = block.warps[number];
        const unsigned int lanes = block.thread_count - number * 32;
        warp.alive = lanes >= 32 ? ~0u : (1u << lanes) - 1;
        warp.ready = warp.alive;
        warp.arrived = 0;
        warp.epoch = 0;
    }
    block.alive = block.thread_count;
    block.warps_passed = 0;
    checker::begin_block();
}

std::string name_of(const Thread& thread) {
    return "thread (" + std::to_string(thread.index.x) + ", " + std::to_string(thread.index.y) + ", " +
           std::to_string(thread.index.z) + ")";
}

/// All threads wait: opens the block's barrier, or reports why that cannot be.
void open_barrier() {
    const Thread* first = nullptr;
    const Thread* elsewhere = nullptr;
    unsigned int waiting = 0;
    for (unsigned int number = 0; number < block.thread_count; ++number) {
        const Thread& thread = *block.threads[number];
        if (thread.state == Thread::State::Done) continue;
        if (first == nullptr) first = &thread;
        if (thread.state == Thread::State::AtBarrier) ++waiting;
        if (!(thread.site == first->site) && elsewhere == nullptr) elsewhere = &thread;
    }
    if (waiting != block.alive) {
        std::string text = "deadlock: " + name_of(*first) + " waits in " + first->site.text();
        if (elsewhere != nullptr) text += ", " + name_of(*elsewhere) + " in " + elsewhere->site.text();
        report(Problem::Deadlock, text, nullptr);
        block.stopped = true;
        return;
    }
    if (elsewhere != nullptr) {
        report(Problem::Divergence,
               "barrier divergence: " + name_of(*first) + " waits in " + first->site.text() + ", " +
                   name_of(*elsewhere) + " in " + elsewhere->site.text(),
               nullptr);
    } else if (block.alive != block.thread_count) {
        report(Problem::Divergence,
               "barrier divergence: " + std::to_string(block.thread_count - block.alive) + " of " +
                   std::to_string(block.thread_count) + " threads returned before " + first->site.text(),
               nullptr);
    }
    for (unsigned int number = 0; number < block.thread_count; ++number) {
        Thread& thread = *block.threads[number];
        if (thread.state == Thread::State::AtBarrier) thread.state = Thread::State::Ready;
    }
    for (unsigned int number = 0; number < block.warp_count; ++number) {
        block.warps[number].ready = block.warps[number].alive;
        block.warps[number].epoch = 0;
    }
    block.warps_passed = 0;
    checker::pass_barrier();
}

void run_block() {
    start_block();
    while (block.alive != 0 && !block.stopped) {
        switch_away(block.main);
        if (block.alive != 0 && !block.stopped) open_barrier();
    }
}

void reserve_dynamic_shared(std::size_t bytes) {
    if (bytes > block.dynamic_shared_capacity || block.dynamic_shared == nullptr) {
        std::free(block.dynamic_shared);
        block.dynamic_shared_capacity = (bytes + 1023) / 1024 * 1024 + 1024;
        block.dynamic_shared = static_cast<char*>(std::aligned_alloc(1024, block.dynamic_shared_capacity));
    }
}

} // namespace

bool Site::operator==(const Site& other) const {
    const auto same = [](const char* a, const char* b) { return a == b || std::strcmp(a, b) == 0; };
    return line == other.line && same(file, other.file) && same(operation, other.operation);
}

std::string Site::text() const {
    return std::string(operation) + " at " + file + ":" + std::to_string(line);
}

void run(const Launch& launch, Order order) {
    block.launch = launch;
    block.order = order;
    block.stopped = false;
    reserve_dynamic_shared(launch.dynamic_shared_bytes);
    checker::begin_launch(block.dynamic_shared, launch.dynamic_shared_bytes);
    const dim3 grid = launch.grid;
    for (unsigned int z = 0; z < grid.z && !block.stopped; ++z) {
        for (unsigned int y = 0; y < grid.y && !block.stopped; ++y) {
            for (unsigned int x = 0; x < grid.x && !block.stopped; ++x) {
                block.index = {x, y, z};
                run_block();
                if (too_many_problems()) block.stopped = true;
            }
        }
    }
    block.running = nullptr;
    checker::end_launch();
}

const Launch& current_launch() { return block.launch; }
const uint3& current_block() { return block.index; }
Thread& current_thread() { return *block.running; }
bool on_stack(const void* address) { return block.running_fiber->holds(address); }
Warp& current_warp() { return block.warps[block.running->warp]; }

void stop_launch() {
    block.stopped = true;
    Fiber& fiber = *block.running_fiber;
    block.running = nullptr;
    block.main.switch_from(fiber);
    std::abort(); // A stopped thread is never run again.
}

void collective(unsigned int mask, Site site, void (*combine)(Warp&)) {
    Thread& thread = *block.running;
    Warp& warp = block.warps[thread.warp];
    if (mask != 0xffffffffu) {
        report(Problem::Divergence, site.text() + " has a partial mask, which is not supported", nullptr);
        stop_launch();
    }
    thread.site = site;
    if (warp.arrived == 0) {
        warp.site = site;
        warp.combine = combine;
    } else if (!(warp.site == site)) {
        report(Problem::Divergence,
               "warp divergence: " + name_of(thread) + " is in " + site.text() + ", lanes of its warp in " +
                   warp.site.text(),
               nullptr);
        stop_launch();
    }
    warp.arrived |= 1u << thread.lane;
    if (warp.arrived == warp.alive) {
        complete_collective(warp);
        return;
    }
    wait(thread, Thread::State::AtCollective);
}

void sync_threads(const char* file, int line) {
    Thread& thread = *block.running;
    thread.site = {file, line, "__syncthreads"};
    wait(thread, Thread::State::AtBarrier);
}

unsigned int thread_index(unsigned int axis) noexcept { return component(block.running->index, axis); }
unsigned int block_index(unsigned int axis) noexcept { return component(block.index, axis); }
unsigned int block_dimension(unsigned int axis) noexcept { return component(block.launch.block, axis); }
unsigned int grid_dimension(unsigned int axis) noexcept { return component(block.launch.grid, axis); }
unsigned int lane() noexcept { return block.running->lane; }
void* dynamic_shared() { return block.dynamic_shared; }

} // namespace emulator
