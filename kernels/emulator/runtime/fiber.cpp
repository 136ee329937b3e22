// Switching stacks. On x86-64 a switch is twelve instructions; elsewhere POSIX contexts do it, a system call each.

#include "fiber.hpp"

#include <cstring>
#include <new>
#include <sys/mman.h>

namespace emulator {

namespace {

constexpr std::size_t GUARD_BYTES = 4096;

/// A stack with a page below it that may not be touched: an overflow stops the program instead of corrupting a neighbour.
char* map_stack() {
    void* pages = mmap(nullptr, GUARD_BYTES + Fiber::STACK_BYTES, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (pages == MAP_FAILED) throw std::bad_alloc();
    mprotect(pages, GUARD_BYTES, PROT_NONE);
    return static_cast<char*>(pages) + GUARD_BYTES;
}

} // namespace

Fiber::~Fiber() {
    if (stack_ != nullptr) munmap(stack_ - GUARD_BYTES, GUARD_BYTES + STACK_BYTES);
}

#if defined(__x86_64__)

// void cuda_emulator_switch(void** save, void* load): pushes the registers that a call preserves, swaps stacks, pops.
asm(R"(
    .text
    .local cuda_emulator_switch
    .type cuda_emulator_switch, @function
cuda_emulator_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size cuda_emulator_switch, . - cuda_emulator_switch
)");
extern "C" void cuda_emulator_switch(void** save, void* load);

void Fiber::start(void (*entry)(), unsigned int number) {
    if (stack_ == nullptr) stack_ = map_stack();
    // The address is 8 below a multiple of 16 when `entry` begins, as after a call.
    char* top = stack_ + STACK_BYTES - 64 - (number % 16) * 192;
    void** words = reinterpret_cast<void**>(top);
    *--words = nullptr;
    *--words = reinterpret_cast<void*>(entry);
    words -= 6;
    std::memset(words, 0, 6 * sizeof(void*));
    stack_pointer_ = words;
}

void Fiber::switch_from(Fiber& from) { cuda_emulator_switch(&from.stack_pointer_, stack_pointer_); }

#else

void Fiber::start(void (*entry)(), unsigned int) {
    if (stack_ == nullptr) stack_ = map_stack();
    getcontext(&context_);
    context_.uc_stack.ss_sp = stack_;
    context_.uc_stack.ss_size = STACK_BYTES;
    context_.uc_link = nullptr;
    makecontext(&context_, entry, 0);
}

void Fiber::switch_from(Fiber& from) { swapcontext(&from.context_, &context_); }

#endif

} // namespace emulator
