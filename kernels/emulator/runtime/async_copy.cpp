// cp.async: a copy happens when its thread waits for it, and not before. So a kernel that forgets to wait reads old
// data here, as it may on a GPU.

#include "checker.hpp"
#include "report.hpp"

namespace emulator {

void cp_async(void* shared, const void* global, std::size_t bytes, bool valid) {
    Thread& thread = current_thread();
    require_aligned(shared, bytes, __builtin_return_address(0));
    require_aligned(global, bytes, __builtin_return_address(0));
    checker::begin_copy(shared, global, bytes, valid, __builtin_return_address(0));
    thread.copies.push_back({shared, global, bytes, valid, thread.copy_group});
}

void cp_async_commit() { ++current_thread().copy_group; }

void cp_async_wait(int pending) {
    Thread& thread = current_thread();
    std::size_t kept = 0;
    for (const PendingCopy& copy : thread.copies) {
        // A copy that was not committed belongs to no group that could be waited for.
        if (copy.group + static_cast<unsigned int>(pending) >= thread.copy_group) {
            thread.copies[kept++] = copy;
            continue;
        }
        checker::end_copy(copy.shared, copy.global, copy.bytes, copy.valid, __builtin_return_address(0));
        if (copy.valid) {
            std::memcpy(copy.shared, copy.global, copy.bytes);
        } else {
            std::memset(copy.shared, 0, copy.bytes);
        }
    }
    thread.copies.resize(kept);
}

} // namespace emulator
