// Device memory: allocations, copies, fills. Device pointers are host pointers.

#include "driver.hpp"

#include "../runtime/checker.hpp"

#include <cstdlib>
#include <cstring>

namespace checker = emulator::checker;

namespace driver {

namespace {

/// Space after each allocation that belongs to nobody, so that an index past the end is noticed.
constexpr std::size_t GAP_BYTES = 512;
constexpr std::size_t ALIGNMENT = 512;

void* memory_at(DevicePointer pointer) { return reinterpret_cast<void*>(pointer); }

Result allocate(DevicePointer* pointer, std::size_t bytes) {
    State& driver = state();
    if (bytes == 0) return INVALID_VALUE;
    const std::size_t rounded = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    Context* context = current_context();
    if (rounded < bytes || rounded > driver.settings.memory_bytes ||
        context->used_bytes > driver.settings.memory_bytes - rounded) {
        return OUT_OF_MEMORY;
    }
    void* memory = std::aligned_alloc(ALIGNMENT, rounded + GAP_BYTES);
    if (memory == nullptr) return OUT_OF_MEMORY;
    // NaN for floats, so that a kernel that reads it shows.
    std::memset(memory, 0xff, rounded + GAP_BYTES);
    *pointer = reinterpret_cast<DevicePointer>(memory);
    driver.allocations[*pointer] = {bytes, context, memory};
    context->used_bytes += rounded;
    checker::add_buffer(memory, bytes);
    return SUCCESS;
}

Result release(DevicePointer pointer) {
    State& driver = state();
    if (pointer == 0) return SUCCESS;
    const auto found = driver.allocations.find(pointer);
    if (found == driver.allocations.end()) return INVALID_VALUE;
    const Allocation& allocation = found->second;
    allocation.context->used_bytes -= (allocation.bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    checker::remove_buffer(allocation.memory);
    std::free(allocation.memory);
    driver.allocations.erase(found);
    return SUCCESS;
}

Result copy_to_device(DevicePointer to, const void* from, std::size_t bytes) {
    if (!is_allocated(to, bytes)) return INVALID_VALUE;
    std::memcpy(memory_at(to), from, bytes);
    checker::host_write(memory_at(to), bytes);
    return SUCCESS;
}

Result copy_to_host(void* to, DevicePointer from, std::size_t bytes) {
    if (!is_allocated(from, bytes)) return INVALID_VALUE;
    if (!checker::initialised(memory_at(from), bytes)) {
        return explain(INVALID_VALUE, "a copy to the host of memory that nobody has written");
    }
    std::memcpy(to, memory_at(from), bytes);
    return SUCCESS;
}

Result copy_within(DevicePointer to, DevicePointer from, std::size_t bytes) {
    if (!is_allocated(to, bytes) || !is_allocated(from, bytes)) return INVALID_VALUE;
    std::memmove(memory_at(to), memory_at(from), bytes);
    checker::host_copy(memory_at(to), memory_at(from), bytes);
    return SUCCESS;
}

Result fill(DevicePointer to, unsigned char value, std::size_t bytes) {
    if (!is_allocated(to, bytes)) return INVALID_VALUE;
    std::memset(memory_at(to), value, bytes);
    checker::host_write(memory_at(to), bytes);
    return SUCCESS;
}

/// Runs or records `work` on the stream with this handle.
Result on_stream(void* handle, Work work) {
    Stream* stream = find_stream(handle);
    return stream == nullptr ? INVALID_HANDLE : submit(*stream, std::move(work));
}

} // namespace

bool is_allocated(DevicePointer pointer, std::size_t bytes) {
    const auto& allocations = state().allocations;
    const auto after = allocations.upper_bound(pointer);
    if (after == allocations.begin()) return false;
    const auto& [begin, allocation] = *std::prev(after);
    return pointer - begin <= allocation.bytes && bytes <= allocation.bytes - (pointer - begin);
}

} // namespace driver

using namespace driver;

DRIVER_FUNCTION cuMemGetInfo_v2(std::size_t* available, std::size_t* total) {
    ENTER();
    *total = state().settings.memory_bytes;
    *available = *total - std::min(*total, current_context()->used_bytes);
    return SUCCESS;
}

DRIVER_FUNCTION cuMemAlloc_v2(DevicePointer* pointer, std::size_t bytes) {
    ENTER();
    if (const Result refused = refuse_in_capture(__func__)) return refused;
    return allocate(pointer, bytes);
}

DRIVER_FUNCTION cuMemAllocAsync(DevicePointer* pointer, std::size_t bytes, void* handle) {
    ENTER();
    if (find_stream(handle) == nullptr) return INVALID_HANDLE;
    if (const Result refused = refuse_in_capture(__func__)) return refused;
    return allocate(pointer, bytes);
}

DRIVER_FUNCTION cuMemFree_v2(DevicePointer pointer) {
    ENTER_WITHOUT_CONTEXT();
    if (const Result refused = refuse_in_capture(__func__)) return refused;
    return release(pointer);
}

DRIVER_FUNCTION cuMemFreeAsync(DevicePointer pointer, void*) {
    ENTER_WITHOUT_CONTEXT();
    if (const Result refused = refuse_in_capture(__func__)) return refused;
    return release(pointer);
}

DRIVER_FUNCTION cuMemHostAlloc(void** pointer, std::size_t bytes, unsigned int) {
    ENTER();
    *pointer = std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
    return *pointer == nullptr ? OUT_OF_MEMORY : SUCCESS;
}

DRIVER_FUNCTION cuMemFreeHost(void* pointer) {
    ENTER_WITHOUT_CONTEXT();
    std::free(pointer);
    return SUCCESS;
}

DRIVER_FUNCTION cuMemcpyHtoD_v2(DevicePointer to, const void* from, std::size_t bytes) {
    ENTER();
    if (const Result refused = refuse_implicit_capture(__func__)) return refused;
    return copy_to_device(to, from, bytes);
}

DRIVER_FUNCTION cuMemcpyHtoDAsync_v2(DevicePointer to, const void* from, std::size_t bytes, void* stream) {
    ENTER();
    return on_stream(stream, [=] { return copy_to_device(to, from, bytes); });
}

DRIVER_FUNCTION cuMemcpyDtoH_v2(void* to, DevicePointer from, std::size_t bytes) {
    ENTER();
    if (const Result refused = refuse_implicit_capture(__func__)) return refused;
    return copy_to_host(to, from, bytes);
}

DRIVER_FUNCTION cuMemcpyDtoHAsync_v2(void* to, DevicePointer from, std::size_t bytes, void* stream) {
    ENTER();
    return on_stream(stream, [=] { return copy_to_host(to, from, bytes); });
}

DRIVER_FUNCTION cuMemcpyDtoD_v2(DevicePointer to, DevicePointer from, std::size_t bytes) {
    ENTER();
    if (const Result refused = refuse_implicit_capture(__func__)) return refused;
    return copy_within(to, from, bytes);
}

DRIVER_FUNCTION cuMemcpyDtoDAsync_v2(DevicePointer to, DevicePointer from, std::size_t bytes, void* stream) {
    ENTER();
    return on_stream(stream, [=] { return copy_within(to, from, bytes); });
}

DRIVER_FUNCTION cuMemcpyPeerAsync(DevicePointer to, Context*, DevicePointer from, Context*, std::size_t bytes,
                                  void* stream) {
    ENTER();
    return on_stream(stream, [=] { return copy_within(to, from, bytes); });
}

DRIVER_FUNCTION cuMemsetD8_v2(DevicePointer to, unsigned char value, std::size_t bytes) {
    ENTER();
    if (const Result refused = refuse_implicit_capture(__func__)) return refused;
    return fill(to, value, bytes);
}

DRIVER_FUNCTION cuMemsetD8Async(DevicePointer to, unsigned char value, std::size_t bytes, void* stream) {
    ENTER();
    return on_stream(stream, [=] { return fill(to, value, bytes); });
}
