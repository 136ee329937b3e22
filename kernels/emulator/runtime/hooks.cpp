// What the compiler calls at each memory access of a kernel built with `-fsanitize=thread`. The thread sanitizer's own
// library is not linked: these functions take its place, and hand the access to the checker.

#include "checker.hpp"

namespace checker = emulator::checker;

#pragma GCC visibility push(default)

#define HOOK(kind, name, bytes)                                                                                        \
    extern "C" void __tsan_##name(void* address) { checker::kind(address, bytes, __builtin_return_address(0)); }

#define HOOKS(bytes)                                                                                                   \
    HOOK(read, read##bytes, bytes)                                                                                     \
    HOOK(write, write##bytes, bytes)                                                                                   \
    HOOK(read, unaligned_read##bytes, bytes)                                                                           \
    HOOK(write, unaligned_write##bytes, bytes)

HOOKS(1)
HOOKS(2)
HOOKS(4)
HOOKS(8)
HOOKS(16)

extern "C" {

void __tsan_read_range(void* address, unsigned long bytes) {
    if (bytes != 0) checker::read(address, bytes, __builtin_return_address(0));
}

void __tsan_write_range(void* address, unsigned long bytes) {
    if (bytes != 0) checker::write(address, bytes, __builtin_return_address(0));
}

void* __tsan_memcpy(void* to, const void* from, std::size_t bytes) {
    if (bytes != 0) {
        checker::read(from, bytes, __builtin_return_address(0));
        checker::write(to, bytes, __builtin_return_address(0));
    }
    return std::memcpy(to, from, bytes);
}

void* __tsan_memset(void* to, int value, std::size_t bytes) {
    if (bytes != 0) checker::write(to, bytes, __builtin_return_address(0));
    return std::memset(to, value, bytes);
}

void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
}
