// Devices and contexts.

#include "driver.hpp"

#include <cstdio>
#include <cstring>

using namespace driver;

DRIVER_FUNCTION cuInit(unsigned int) {
    ENTER_WITHOUT_CONTEXT();
    State& driver = state();
    if (driver.settings.devices < 1) return NO_DEVICE;
    driver.initialised = true;
    return SUCCESS;
}

DRIVER_FUNCTION cuDriverGetVersion(int* version) {
    ENTER_WITHOUT_CONTEXT();
    *version = state().settings.driver_version;
    return SUCCESS;
}

DRIVER_FUNCTION cuDeviceGetCount(int* count) {
    ENTER_WITHOUT_CONTEXT();
    if (!state().initialised) return NOT_INITIALIZED;
    *count = state().settings.devices;
    return SUCCESS;
}

DRIVER_FUNCTION cuDeviceGet(int* device, int ordinal) {
    ENTER_WITHOUT_CONTEXT();
    if (!state().initialised) return NOT_INITIALIZED;
    if (ordinal < 0 || ordinal >= state().settings.devices) return INVALID_DEVICE;
    *device = ordinal;
    return SUCCESS;
}

DRIVER_FUNCTION cuDeviceGetName(char* name, int capacity, int) {
    ENTER_WITHOUT_CONTEXT();
    std::snprintf(name, static_cast<std::size_t>(capacity), "CUDA emulator");
    return SUCCESS;
}

DRIVER_FUNCTION cuDeviceGetUuid_v2(char* uuid, int device) {
    ENTER_WITHOUT_CONTEXT();
    std::memset(uuid, 0, 16);
    uuid[15] = static_cast<char>(device);
    return SUCCESS;
}

DRIVER_FUNCTION cuDeviceGetUuid(char* uuid, int device) { return cuDeviceGetUuid_v2(uuid, device); }

DRIVER_FUNCTION cuDeviceTotalMem_v2(std::size_t* bytes, int) {
    ENTER_WITHOUT_CONTEXT();
    *bytes = state().settings.memory_bytes;
    return SUCCESS;
}

/// Values of an H100, as far as programs ask for them; shared memory depends on the architecture.
DRIVER_FUNCTION cuDeviceGetAttribute(int* value, int attribute, int device) {
    ENTER_WITHOUT_CONTEXT();
    const Settings& settings = state().settings;
    if (device < 0 || device >= settings.devices) return INVALID_DEVICE;
    const int capability = settings.compute_capability;
    switch (attribute) {
    case 1: *value = 1024; break; // threads per block
    case 2: case 3: *value = 1024; break; // block dimensions x, y
    case 4: *value = 64; break; // block dimension z
    case 5: *value = 0x7fffffff; break; // grid dimension x
    case 6: case 7: *value = 65535; break; // grid dimensions y, z
    case 8: *value = 48 * 1024; break; // shared memory per block, unless a kernel opts in
    case 9: *value = 64 * 1024; break; // constant memory
    case 10: *value = 32; break; // warp size
    case 12: *value = 65536; break; // registers per block
    case 13: *value = 1980000; break; // clock, kHz
    case 16: *value = 132; break; // multiprocessors
    case 31: *value = 1; break; // concurrent kernels
    case 36: *value = 2619000; break; // memory clock, kHz
    case 37: *value = 5120; break; // memory bus, bits
    case 38: *value = 50 << 20; break; // level-2 cache, bytes
    case 39: *value = 2048; break; // threads per multiprocessor
    case 41: *value = 1; break; // unified addressing
    case 75: *value = capability / 10; break; // compute capability, major
    case 76: *value = capability % 10; break; // compute capability, minor
    case 81: *value = (capability >= 90 ? 228 : capability == 80 ? 164 : 100) * 1024; break; // shared memory per SM
    case 82: *value = 65536; break; // registers per multiprocessor
    case 83: *value = 1; break; // managed memory
    case 97: *value = (capability >= 90 ? 227 : capability == 80 ? 163 : 99) * 1024; break; // shared memory, opted in
    case 106: *value = 32; break; // blocks per multiprocessor
    case 111: *value = 1024; break; // shared memory reserved per block
    case 115: *value = 1; break; // memory pools
    default: *value = 0; break;
    }
    return SUCCESS;
}

DRIVER_FUNCTION cuDevicePrimaryCtxRetain(Context** context, int device) {
    ENTER_WITHOUT_CONTEXT();
    State& driver = state();
    if (!driver.initialised) return NOT_INITIALIZED;
    if (device < 0 || device >= driver.settings.devices) return INVALID_DEVICE;
    while (driver.devices.size() <= static_cast<std::size_t>(device)) {
        driver.devices.push_back(std::make_unique<Device>());
        driver.devices.back()->ordinal = static_cast<int>(driver.devices.size()) - 1;
    }
    *context = driver.devices[static_cast<std::size_t>(device)].get();
    return SUCCESS;
}

DRIVER_FUNCTION cuDevicePrimaryCtxRelease_v2(int) {
    ENTER_WITHOUT_CONTEXT();
    return SUCCESS;
}

DRIVER_FUNCTION cuCtxGetCurrent(Context** context) {
    ENTER_WITHOUT_CONTEXT();
    *context = current_context();
    return SUCCESS;
}

DRIVER_FUNCTION cuCtxSetCurrent(Context* context) {
    ENTER_WITHOUT_CONTEXT();
    current_context() = context;
    return SUCCESS;
}

DRIVER_FUNCTION cuCtxGetDevice(int* device) {
    ENTER();
    *device = current_context()->ordinal;
    return SUCCESS;
}

DRIVER_FUNCTION cuCtxSynchronize() {
    ENTER();
    return refuse_in_capture(__func__);
}

DRIVER_FUNCTION cuCtxSetFlags(unsigned int) {
    ENTER();
    return SUCCESS;
}

DRIVER_FUNCTION cuCtxGetStreamPriorityRange(int* least, int* greatest) {
    ENTER();
    *least = 0;
    *greatest = -5;
    return SUCCESS;
}
