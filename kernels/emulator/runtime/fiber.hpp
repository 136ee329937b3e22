// A fiber: a stack of its own, switched to and from by hand. One for each CUDA thread of a block.
#pragma once

#include <cstddef>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace emulator {

class Fiber {
public:
    /// Enough for a kernel's frames under instrumentation; pages that are never touched cost nothing.
    static constexpr std::size_t STACK_BYTES = 128 * 1024;

    Fiber() = default;
    Fiber(const Fiber&) = delete;
    Fiber& operator=(const Fiber&) = delete;
    ~Fiber();

    /// Makes the next `switch_to` this fiber call `entry`, which must not return. What the fiber did before is dropped.
    ///
    /// `number` staggers the tops of the stacks, which else would all fall into the same sets of the first-level cache.
    void start(void (*entry)(), unsigned int number);

    /// Stops `from`, which is running, and goes on with this fiber. Returns when somebody switches back to `from`.
    void switch_from(Fiber& from);

    /// Whether `address` is on this fiber's stack.
    bool holds(const void* address) const {
        return static_cast<std::size_t>(static_cast<const char*>(address) - stack_) < STACK_BYTES && stack_ != nullptr;
    }

private:
    char* stack_ = nullptr;
#if defined(__x86_64__)
    void* stack_pointer_ = nullptr;
#else
    ucontext_t context_;
#endif
};

} // namespace emulator
