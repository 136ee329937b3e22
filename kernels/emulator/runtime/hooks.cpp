// What the compiler calls in a kernel built for checking. The sanitizers' own libraries are not linked: these functions
// take their place.
//
// `-fsanitize=thread` calls at each memory access. `-fsanitize=alignment,bounds` calls when a vector load is not aligned
// (which a GPU refuses), or an index is beyond an array whose size the compiler knows: one in registers, say.

#include "checker.hpp"
#include "report.hpp"

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

// The sanitizer's descriptions, as far as they are used (compiler-rt, ubsan_handlers.h).
struct Place {
    const char* file;
    std::uint32_t line, column;
};

struct TypeMismatch {
    Place place;
    const void* type;
    unsigned char log_alignment;
    unsigned char kind;
};

struct OutOfBounds {
    Place place;
    const void* array_type;
    const void* index_type;
};

extern "C" {

void __ubsan_handle_type_mismatch_v1(TypeMismatch* found, std::uintptr_t address) {
    const std::uintptr_t alignment = std::uintptr_t{1} << found->log_alignment;
    emulator::require_aligned(reinterpret_cast<const void*>(address), alignment, __builtin_return_address(0));
}

void __ubsan_handle_out_of_bounds(OutOfBounds*, std::uintptr_t index) {
    report(emulator::Problem::OutOfBounds,
           "out of bounds: index " + std::to_string(static_cast<std::intptr_t>(index)) + " of an array",
           __builtin_return_address(0));
    emulator::stop_launch();
}
}
