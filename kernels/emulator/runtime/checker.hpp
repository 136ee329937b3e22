// The checker: for every word of global and shared memory, who wrote and who read it last, and whether a barrier lies
// between. The compiler calls it at every memory access of a kernel that was built for checking (see hooks.cpp).
#pragma once

#include "scheduler.hpp"

#include <cstddef>
#include <string>

namespace emulator::checker {

/// Turns checking on or off. While off, all functions below do nothing.
void enable(bool on);
bool enabled();

/// A buffer of global memory that the driver allocated. It counts as never written.
void add_buffer(const void* address, std::size_t bytes);
void remove_buffer(const void* address);

/// A variable in static shared memory.
void add_shared(const void* address, std::size_t bytes, const std::string& name);
void remove_shared(const void* address);

/// Memory of a loaded library that a kernel may read: its constants.
void add_constants(const void* begin, std::size_t bytes);

/// Copies and fills by the host.
void host_write(const void* address, std::size_t bytes);
void host_copy(const void* to, const void* from, std::size_t bytes);
/// Whether every byte was written by somebody.
bool initialised(const void* address, std::size_t bytes);

void begin_launch(const void* dynamic_shared, std::size_t dynamic_shared_bytes);
void end_launch();
void begin_block();
void pass_barrier();

/// An access of the running thread, made by the instruction before `code`.
void read(const void* address, std::size_t bytes, const void* code);
void write(const void* address, std::size_t bytes, const void* code);
void atomic(const void* address, std::size_t bytes, const void* code);

/// A copy to shared memory begins or ends.
void begin_copy(const void* shared, const void* global, std::size_t bytes, bool valid, const void* code);
void end_copy(const void* shared, const void* global, std::size_t bytes, bool valid, const void* code);

} // namespace emulator::checker
