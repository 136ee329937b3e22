// What the checker found: counted, kept as text for the driver's error message, and printed.
#pragma once

#include <cstddef>
#include <string>

namespace emulator {

enum class Problem { Race, OutOfBounds, Misaligned, Uninitialised, Divergence, Deadlock };

/// Adds a problem of the kernel, block and thread that run. `code` is the address of the kernel's instruction, or null
/// where the text names the place itself. The same problem at the same place is counted once a launch.
void report(Problem problem, const std::string& text, const void* code);

/// Stops the launch with a report if an address is not a multiple of `alignment`: a GPU refuses such an access.
void require_aligned(const void* address, std::size_t alignment, const void* code);

/// Forgets the problems of earlier launches.
void clear_problems();

/// How many problems the launch has, and all of them as text, one a line.
std::size_t problem_count();
bool has_problem(Problem problem);
const std::string& problem_text();

/// Whether going on would only bury the first problems.
bool too_many_problems();

/// `file:line` of an instruction, as far as `addr2line` knows it.
std::string source_location(const void* code);

} // namespace emulator
