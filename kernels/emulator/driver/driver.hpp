// The test driver: a `libcuda.so.1` whose devices are emulated. What its files share.
//
// It exports what a driver of R530 (CUDA 12.1) has and `cudarc` 0.19 calls, and nothing newer: a call of a newer
// function fails here as it would on a user's machine. Work on a stream is done at once, in the call that submits it;
// on a stream that is being captured it is recorded. All calls are serialised.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace driver {

/// `CUresult`, with the values of `cuda.h`.
enum Result : int {
    SUCCESS = 0,
    INVALID_VALUE = 1,
    OUT_OF_MEMORY = 2,
    NOT_INITIALIZED = 3,
    NO_DEVICE = 100,
    INVALID_DEVICE = 101,
    INVALID_IMAGE = 200,
    INVALID_CONTEXT = 201,
    NO_BINARY_FOR_GPU = 209,
    INVALID_PTX = 218,
    UNSUPPORTED_PTX_VERSION = 222,
    INVALID_HANDLE = 400,
    NOT_FOUND = 500,
    ILLEGAL_ADDRESS = 700,
    LAUNCH_OUT_OF_RESOURCES = 701,
    MISALIGNED_ADDRESS = 716,
    LAUNCH_FAILED = 719,
    NOT_SUPPORTED = 801,
    CAPTURE_UNSUPPORTED = 900,
    CAPTURE_INVALIDATED = 901,
    CAPTURE_IMPLICIT = 906,
};

using DevicePointer = std::uint64_t;

/// What tests may choose: by the environment (`CUDA_EMULATOR_DEVICES` and so on) before the library is loaded, or by
/// `cuda_emulator_set` ("devices") at any time.
struct Settings {
    int devices = 1;
    /// Of each device.
    std::size_t memory_bytes = std::size_t{8} << 30;
    /// As `cuDriverGetVersion` tells it: 12010 is CUDA 12.1.
    int driver_version = 12010;
    /// 90 is sm_90.
    int compute_capability = 90;
    /// The library of kernels that modules loaded from now on run.
    std::string kernels;
    bool reverse_order = false;
    /// Every call after a failed kernel fails too, as on a GPU.
    bool sticky_errors = false;
    /// Fails the n-th call, from now, of one function, or of any where the name is `*`.
    std::string fail_function;
    int fail_call = 0;
    Result fail_result = SUCCESS;
};

struct Device {
    int ordinal = 0;
    std::size_t used_bytes = 0;
};

/// Contexts are primary ones: one for each device.
using Context = Device;

struct Allocation {
    std::size_t bytes;
    Context* context;
    void* memory;
};

using Work = std::function<Result()>;

/// `CUstreamCaptureMode`: whose calls that do not belong into a capture break it.
enum class CaptureMode : int { Global = 0, ThreadLocal = 1, Relaxed = 2 };

struct Stream {
    Context* context = nullptr;
    /// Whether the default stream does not wait for it.
    bool non_blocking = false;
    bool capturing = false;
    CaptureMode capture_mode = CaptureMode::Global;
    std::thread::id capture_thread;
    bool capture_broken = false;
    std::vector<Work> recorded;
};

/// The state of the driver, guarded by its mutex.
struct State {
    std::recursive_mutex mutex;
    Settings settings;
    bool initialised = false;
    std::vector<std::unique_ptr<Device>> devices;
    std::map<DevicePointer, Allocation> allocations;
    std::map<void*, std::unique_ptr<Stream>> streams;
    /// What a failed kernel left, if errors stick.
    Result sticky = SUCCESS;
};

State& state();
Context*& current_context();

/// Sets what `cuGetErrorString` adds when this thread asks for the text of `result`. Gives `result`.
Result explain(Result result, const std::string& text);

/// What every call does first: whether it is to fail.
Result enter(const char* function, bool needs_context);

/// The stream of a handle: null is the default stream of the current context; null if there is no such stream.
Stream* find_stream(void* handle);
/// Does `work` now, or records it if the stream is being captured.
Result submit(Stream& stream, Work work);
/// For a call that does not belong into a capture, such as an allocation: fails, and breaks the capture, if it is made
/// during one that minds.
Result refuse_in_capture(const char* function);
/// For work on the default stream: fails if it would have to wait for a stream that is being captured.
Result refuse_implicit_capture(const char* function);

/// Whether `[pointer, pointer + bytes)` lies in one allocation.
bool is_allocated(DevicePointer pointer, std::size_t bytes);

} // namespace driver

#define DRIVER_FUNCTION extern "C" __attribute__((visibility("default"))) driver::Result

/// The lock is held to the end of the call.
#define ENTER_WITHOUT_CONTEXT()                                                                                        \
    const std::lock_guard<std::recursive_mutex> lock(driver::state().mutex);                                           \
    if (const driver::Result refused = driver::enter(__func__, false)) return refused

#define ENTER()                                                                                                        \
    const std::lock_guard<std::recursive_mutex> lock(driver::state().mutex);                                           \
    if (const driver::Result refused = driver::enter(__func__, true)) return refused
